//! Asking other servers by HTTP. For threads that do nothing else: each waits for its answer.

use std::{
    io::{self, Read},
    time::Duration,
};

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};

/// A server that does not take the connection by then is away.
const CONNECT: Duration = Duration::from_secs(5);

/// How servers are asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpOptions<'a> {
    /// How long a server may say nothing.
    pub(crate) silence: Duration,
    /// How long all of one answer may take.
    pub(crate) whole: Duration,
    /// How many servers an answer may come from in the end, by each passing on to the next.
    pub(crate) redirects: usize,
    /// Certificates (PEM) of those who vouch for the servers, in place of the system's.
    pub(crate) authorities: Option<&'a [u8]>,
}

/// A client.
pub(crate) struct HttpClient {
    http: reqwest::Client,
    runtime: Runtime,
}

impl HttpClient {
    /// One that asks so. Certificates that are none are an error.
    pub(crate) fn new(options: HttpOptions<'_>) -> io::Result<Self> {
        let redirects = match options.redirects {
            0 => reqwest::redirect::Policy::none(),
            most => reqwest::redirect::Policy::limited(most),
        };
        let builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(options.silence)
            .timeout(options.whole)
            .redirect(redirects)
            .user_agent(concat!("vesta/", env!("CARGO_PKG_VERSION")));
        let builder = match options.authorities {
            Some(pem) => trusting(builder, pem)?,
            None => builder,
        };
        let http = builder.build().map_err(|error| io::Error::other(told(&error)))?;
        Ok(Self { http, runtime: Builder::new_current_thread().enable_all().build()? })
    }

    /// Asks for an address, and shows a token if there is one. The answer's body is still to come.
    pub(crate) fn get(&self, url: &str, token: Option<&str>) -> Result<Answer<'_>, String> {
        let request = self.http.get(url);
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        // Made in the runtime: a request has a timer from the start.
        let response = self.runtime.block_on(async { request.send().await }).map_err(|error| told(&error))?;
        Ok(Answer { runtime: &self.runtime, response, chunk: Bytes::new() })
    }
}

#[cfg(feature = "tls")]
fn trusting(builder: reqwest::ClientBuilder, pem: &[u8]) -> io::Result<reqwest::ClientBuilder> {
    let certificates = reqwest::Certificate::from_pem_bundle(pem);
    let certificates = certificates.map_err(|error| io::Error::other(told(&error)))?;
    if certificates.is_empty() {
        return Err(io::Error::other("there is no certificate in it"));
    }
    let builder = builder.tls_built_in_root_certs(false);
    Ok(certificates.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate))
}

#[cfg(not(feature = "tls"))]
fn trusting(_: reqwest::ClientBuilder, _: &[u8]) -> io::Result<reqwest::ClientBuilder> {
    Err(io::Error::other("this vesta was built without TLS (the feature `tls`)"))
}

/// An answer; its body is read as it comes.
pub(crate) struct Answer<'a> {
    runtime: &'a Runtime,
    response: reqwest::Response,
    chunk: Bytes,
}

impl Answer<'_> {
    /// Its status code.
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// How long it says its body is, bytes.
    pub(crate) fn length(&self) -> Option<u64> {
        self.response.content_length()
    }
}

impl Read for Answer<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            let next = self.runtime.block_on(async { self.response.chunk().await });
            match next.map_err(|error| io::Error::other(told(&error)))? {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let size = to.len().min(self.chunk.len());
        to[..size].copy_from_slice(&self.chunk.split_to(size));
        Ok(size)
    }
}

/// An error with what is behind it: the outermost says little.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
