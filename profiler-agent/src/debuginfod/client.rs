//! HTTP to debuginfod servers.

use std::{
    io,
    time::{Duration, Instant},
};

use super::cache::Cache;
use crate::http_client::{HttpClient, HttpOptions};

/// Servers may have to unpack a package before the first byte.
const SILENCE: Duration = Duration::from_secs(30);
/// All of one file: some hundred megabytes over a slow line.
const WHOLE: Duration = Duration::from_secs(300);
/// Servers pass on to others.
const REDIRECTS: usize = 5;
/// A server that fails is left alone, the longer the more often in a row.
const PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// What came of asking all servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    File,
    NotThere,
    Failed,
}

struct Server {
    url: String,
    failures: u32,
    not_before: Option<Instant>,
}

/// Servers in their order.
pub(super) struct Client {
    http: HttpClient,
    servers: Vec<Server>,
}

impl Client {
    /// For these servers; an address that cannot be used is an error.
    pub(super) fn new(urls: &[String]) -> io::Result<Self> {
        if let Some(url) = urls.iter().find(|url| !is_usable(url)) {
            return Err(io::Error::other(format!("`{url}` is no server that this build can ask")));
        }
        let http = HttpClient::new(HttpOptions {
            silence: SILENCE,
            whole: WHOLE,
            redirects: REDIRECTS,
            authorities: None,
        })?;
        let servers = urls.iter().map(|url| Server {
            url: url.trim_end_matches('/').to_owned(),
            failures: 0,
            not_before: None,
        });
        Ok(Self { http, servers: servers.collect() })
    }

    /// Asks one server after the other, until one has it.
    pub(super) fn fetch(&mut self, build_id: &str, cache: &mut Cache) -> Answer {
        let mut answer = Answer::NotThere;
        for server in &mut self.servers {
            if server.not_before.is_some_and(|time| time > Instant::now()) {
                answer = Answer::Failed;
                continue;
            }
            let url = format!("{}/buildid/{build_id}/debuginfo", server.url);
            match ask(&self.http, &url, build_id, cache) {
                Ok(true) => {
                    (server.failures, server.not_before) = (0, None);
                    return Answer::File;
                }
                Ok(false) => (server.failures, server.not_before) = (0, None),
                Err(error) => {
                    tracing::info!(%url, error, "no debug info");
                    let pause = PAUSE * 2u32.saturating_pow(server.failures.min(10));
                    server.failures += 1;
                    server.not_before = Some(Instant::now() + pause.min(LONGEST_PAUSE));
                    answer = Answer::Failed;
                }
            }
        }
        answer
    }
}

/// Whether it was there, and is in the cache now.
fn ask(http: &HttpClient, url: &str, build_id: &str, cache: &mut Cache) -> Result<bool, String> {
    let mut answer = http.get(url, None)?;
    match answer.status() {
        200 => {}
        404 | 410 => return Ok(false),
        status => return Err(format!("it answers {status}")),
    }
    if let Some(bytes) = answer.length().filter(|bytes| *bytes > cache.most()) {
        return Err(format!("it is of {bytes} bytes"));
    }
    cache.keep(build_id, &mut answer).map(|()| true)
}

/// Whether this build can ask a server of this address.
pub(crate) fn is_usable(url: &str) -> bool {
    let named =
        |scheme: &str| url.strip_prefix(scheme).is_some_and(|rest| !rest.trim_matches('/').is_empty());
    named("http://") || (cfg!(feature = "tls") && named("https://"))
}
