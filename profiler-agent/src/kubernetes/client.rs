//! HTTP to the API server of Kubernetes.

use std::{collections::HashMap, fs, io, path::Path, time::Duration};

use tokio::runtime::Runtime;

use super::pod::{self, Pod};
use crate::{
    config::KubernetesOptions,
    http_client::{self, told},
};

/// All of one answer.
const WHOLE: Duration = Duration::from_secs(30);
/// Bytes of an answer: a thousand pods with long environments and histories.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Bytes of a token: service accounts' have some thousand.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// Asks for the pods of one node.
pub(super) struct Client {
    http: reqwest::Client,
    runtime: Runtime,
    url: String,
    options: KubernetesOptions,
}

impl Client {
    /// For this server and node; a certificate that cannot be read is an error.
    pub(super) fn new(options: &KubernetesOptions) -> io::Result<Self> {
        // The answer of a server that passes on to another one is none: the token is for this one.
        let mut builder =
            http_client::builder().timeout(WHOLE).redirect(reqwest::redirect::Policy::none()).no_proxy();
        if let Some(file) = &options.ca_file {
            let of_file =
                |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", file.display()));
            let text = fs::read(file).map_err(|error| of_file(&error))?;
            let certificates =
                reqwest::Certificate::from_pem_bundle(&text).map_err(|error| of_file(&error))?;
            if certificates.is_empty() {
                return Err(of_file(&"there is no certificate in it"));
            }
            // The cluster's own, and no other.
            builder = builder.tls_built_in_root_certs(false);
            builder = certificates.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate);
        }
        let http = builder.build().map_err(io::Error::other)?;
        // From the server's cache (`resourceVersion=0`): as fresh as what it tells those who watch, and cheap for it.
        let url = format!(
            "{}/api/v1/pods?fieldSelector=spec.nodeName%3D{}&resourceVersion=0",
            options.url.trim_end_matches('/'),
            options.node
        );
        Ok(Self { http, runtime: http_client::runtime()?, url, options: options.clone() })
    }

    /// The pods of the node by what cgroups call them.
    pub(super) fn pods(&self) -> Result<HashMap<String, Pod>, String> {
        let token = self.options.token_file.as_deref().map(token).transpose()?;
        let body = self.runtime.block_on(self.ask(token))?;
        pod::pods(&body, &self.options.pod_labels)
    }

    async fn ask(&self, token: Option<String>) -> Result<Vec<u8>, String> {
        let mut request = self.http.get(&self.url).header("Accept", "application/json");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let mut response = request.send().await.map_err(|error| told(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| told(&error))? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(format!("the answer has more than {} MiB", BODY_BYTES_MAX >> 20));
            }
            body.extend_from_slice(&chunk);
        }
        match response.status().as_u16() {
            200 => Ok(body),
            status => Err(match pod::reason(&body) {
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
