//! What those who ask servers have in common. Each asks on a thread of its own, one question after the other.

use std::{io, time::Duration};

use tokio::runtime::{Builder, Runtime};

/// A server that does not take the connection by then is away.
const CONNECT: Duration = Duration::from_secs(5);

/// A client as all of ours are.
pub(crate) fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .user_agent(concat!("vesta/", env!("CARGO_PKG_VERSION")))
}

/// What such a thread waits in.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// An error with what is behind it: the outermost says little.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
