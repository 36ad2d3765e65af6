//! Where a store is: an address, and the client that its kind needs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::error::{RemoteError, Result};

/// A server that takes longer than this to answer is none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A whole request; 128 MiB, the largest segment, at half a megabyte a second.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
/// A request is tried again by the client itself, for as long as someone may wait for an answer; what goes on in the
/// background is tried again by its own loop.
const RETRIES: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// The address of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    kind: Kind,
    /// Without a slash at its end.
    pub(super) url: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    S3 { bucket: String, prefix: Path },
    Folder(PathBuf),
}

impl Location {
    /// `s3://bucket/prefix` or `file:///folder`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let wrong = || RemoteError::Address(text.to_owned());
        let url = text.trim_end_matches('/').to_owned();
        if let Some(rest) = url.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            if bucket.is_empty() || !bucket.chars().all(is_plain) {
                return Err(wrong());
            }
            let prefix = Path::parse(prefix).map_err(|_| wrong())?;
            return Ok(Self { kind: Kind::S3 { bucket: bucket.to_owned(), prefix }, url });
        }
        match url.strip_prefix("file://") {
            Some(folder) if folder.starts_with('/') => Ok(Self { kind: Kind::Folder(folder.into()), url }),
            _ => Err(wrong()),
        }
    }

    /// The client, and the prefix of all objects. Nothing is asked of a server yet.
    pub(super) fn connect(&self, own: &[(String, String)]) -> Result<(Arc<dyn ObjectStore>, Path)> {
        let settings = |error: object_store::Error| RemoteError::Settings {
            url: self.url.clone(),
            reason: error.to_string(),
        };
        match &self.kind {
            Kind::S3 { bucket, prefix } => {
                let store = s3(bucket, own).build().map_err(settings)?;
                Ok((Arc::new(store), prefix.clone()))
            }
            Kind::Folder(folder) => {
                let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| {
                    RemoteError::Local(format!("the folder {} cannot be used: {error}", folder.display()))
                })?;
                Ok((Arc::new(store), Path::default()))
            }
        }
    }
}

/// Credentials, region, endpoint and the like come from the usual variables of the environment, AWS_*.
fn s3(bucket: &str, own: &[(String, String)]) -> AmazonS3Builder {
    let retry = RetryConfig {
        backoff: BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() },
        max_retries: RETRIES,
        retry_timeout: RETRY_TIMEOUT,
    };
    let options = ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT).with_timeout(REQUEST_TIMEOUT);
    let mut builder = AmazonS3Builder::new().with_client_options(options);
    let environment = std::env::vars_os().filter_map(|(name, value)| {
        Some((name.into_string().ok().filter(|name| name.starts_with("AWS_"))?, value.into_string().ok()?))
    });
    for (name, value) in environment.chain(own.iter().cloned()) {
        // Others have variables of this kind, too, that are not the client's.
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    builder.with_bucket_name(bucket).with_retry(retry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_a_bucket_and_a_prefix_or_a_folder() {
        let url = |text| Location::parse(text).map(|location| location.url).ok();
        assert_eq!(url("s3://profiles/web/prod/"), Some("s3://profiles/web/prod".to_owned()));
        assert_eq!(url("s3://profiles"), Some("s3://profiles".to_owned()));
        assert_eq!(url("file:///srv/vesta"), Some("file:///srv/vesta".to_owned()));
        for wrong in
            ["", "profiles", "s3://", "s3:///a", "s3://a b/c", "s3://a/b//c", "file://relative", "gs://a/b"]
        {
            assert!(url(wrong).is_none(), "{wrong}");
        }
    }
}
