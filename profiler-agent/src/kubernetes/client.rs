//! What the API server of Kubernetes is asked.

use std::{collections::HashMap, fs, io, io::Read, path::Path, time::Duration};

use super::pod::{self, Pod};
use crate::{
    config::KubernetesOptions,
    http_client::{HttpClient, HttpOptions},
};

/// All of one answer.
const WHOLE: Duration = Duration::from_secs(30);
/// Bytes of an answer: a thousand pods with long environments and histories.
const BODY_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a token: service accounts' have some thousand.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// Asks for the pods of one node.
pub(super) struct Client {
    http: HttpClient,
    url: String,
    options: KubernetesOptions,
}

impl Client {
    /// For this server and node; a certificate that cannot be read is an error.
    pub(super) fn new(options: &KubernetesOptions) -> io::Result<Self> {
        let of_file = |error: io::Error| {
            let file = options.ca_file.as_deref().unwrap_or(Path::new("")).display();
            io::Error::other(format!("{file}: {error}"))
        };
        let authorities = options.ca_file.as_ref().map(fs::read).transpose().map_err(of_file)?;
        // A server that passes on to another one has no answer: the token is for this one.
        let (silence, whole, redirects, authorities) = (WHOLE, WHOLE, 0, authorities.as_deref());
        let http = HttpClient::new(HttpOptions { silence, whole, redirects, authorities });
        let http = if authorities.is_some() { http.map_err(of_file)? } else { http? };
        // From the server's cache (`resourceVersion=0`): as fresh as what it tells those who watch, and cheap for it.
        let url = format!(
            "{}/api/v1/pods?fieldSelector=spec.nodeName%3D{}&resourceVersion=0",
            options.url.trim_end_matches('/'),
            options.node
        );
        Ok(Self { http, url, options: options.clone() })
    }

    /// The pods of the node by what cgroups call them.
    pub(super) fn pods(&self) -> Result<HashMap<String, Pod>, String> {
        let token = self.options.token_file.as_deref().map(token).transpose()?;
        let answer = self.http.get(&self.url, token.as_deref())?;
        let status = answer.status();
        let mut body = Vec::new();
        answer.take(BODY_BYTES_MAX + 1).read_to_end(&mut body).map_err(|error| error.to_string())?;
        if body.len() as u64 > BODY_BYTES_MAX {
            return Err(format!("the answer has more than {} MiB", BODY_BYTES_MAX >> 20));
        }
        match status {
            200 => pod::pods(&body, &self.options.pod_labels),
            _ => Err(match pod::reason(&body) {
                Some(reason) => format!("it answers {status}: {reason}"),
                None => format!("it answers {status}"),
            }),
        }
    }
}

/// The token of a file, as of now: it is replaced before it expires.
fn token(file: &Path) -> Result<String, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    match text.trim() {
        "" => Err(format!("{}: there is no token in it", file.display())),
        token if token.len() > TOKEN_BYTES_MAX => Err(format!("{}: it is no token", file.display())),
        token => Ok(token.to_owned()),
    }
}
