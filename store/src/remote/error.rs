//! What can go wrong with object storage, in sentences a user can act on.

use std::error::Error as _;

/// An error of object storage.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Not the address of a store.
    #[error(
        "`{0}` is no address of a store: use s3://BUCKET/PREFIX, or file:///FOLDER for one that is shared by other means"
    )]
    Address(String),
    /// The settings that come from the environment do not fit together.
    #[error("{url}: the settings are not usable: {reason}")]
    Settings {
        /// The store.
        url: String,
        /// Which, and why.
        reason: String,
    },
    /// Nothing answers.
    #[error("{url} cannot be reached: {reason}")]
    Unreachable {
        /// The store.
        url: String,
        /// What was tried last.
        reason: String,
    },
    /// The bucket is not there.
    #[error("{url}: there is no such bucket; it has to be made before, in the region of AWS_REGION")]
    NoBucket {
        /// The store.
        url: String,
    },
    /// The store does not know who we are.
    #[error(
        "{url} refuses the credentials ({reason}); they come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
         the machine's or container's role"
    )]
    Credentials {
        /// The store.
        url: String,
        /// The store's word for it.
        reason: String,
    },
    /// The store knows us, but we may not.
    #[error("{url} does not allow to {action}; docs/operations.md lists what Vesta needs")]
    Denied {
        /// The store.
        url: String,
        /// What was tried.
        action: String,
    },
    /// Signatures have a time in them.
    #[error(
        "{url}: this machine's clock is too far from the store's, which refuses its requests; set the clock"
    )]
    Clock {
        /// The store.
        url: String,
    },
    /// Another region's bucket.
    #[error("{url}: the bucket is in another region than AWS_REGION says ({reason})")]
    Region {
        /// The store.
        url: String,
        /// What the store says.
        reason: String,
    },
    /// An object that should be there is not.
    #[error("{url}/{object} is missing")]
    Missing {
        /// The store.
        url: String,
        /// The object's name.
        object: String,
    },
    /// An object is not what was written.
    #[error("{url}/{object} is damaged: {reason}")]
    Damaged {
        /// The store.
        url: String,
        /// The object's name.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing of Vesta is there.
    #[error(
        "{url} holds no store of Vesta (it has no `vesta-store.json`); `vesta run --store {url}` makes one"
    )]
    NotAStore {
        /// The place.
        url: String,
    },
    /// Something else is there.
    #[error("{url} is not empty (it has `{object}`) and holds no store of Vesta; use another prefix")]
    Foreign {
        /// The place.
        url: String,
        /// The first object found.
        object: String,
    },
    /// The store is opened for reading.
    #[error("{url} was opened for reading only")]
    ReadOnly {
        /// The store.
        url: String,
    },
    /// Anything else.
    #[error("{url}: cannot {action}: {reason}")]
    Refused {
        /// The store.
        url: String,
        /// What was tried.
        action: String,
        /// What the store says.
        reason: String,
    },
    /// A local file or folder that goes with the store.
    #[error("{0}")]
    Local(String),
}

/// Result of an operation of object storage.
pub type Result<T> = std::result::Result<T, RemoteError>;

impl RemoteError {
    /// Whether it may go away by itself: no network, too many requests, a server's fault.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Refused { .. })
    }

    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}

/// What an error of the client means; `action` as in "cannot read the list of commits".
pub(super) fn meaning(url: &str, object: &str, action: &str, error: &object_store::Error) -> RemoteError {
    let text = chain(error);
    let url = url.to_owned();
    let action = || if object.is_empty() { action.to_owned() } else { format!("{action} {object}") };
    let says = |code: &str| text.contains(code);
    // S3's codes; servers that speak its protocol use the same ones.
    if says("NoSuchBucket") {
        return RemoteError::NoBucket { url };
    }
    if says("RequestTimeTooSkewed") || says("RequestExpired") {
        return RemoteError::Clock { url };
    }
    if says("PermanentRedirect") || says("AuthorizationHeaderMalformed") || says("IllegalLocationConstraint")
    {
        return RemoteError::Region { url, reason: short(&text) };
    }
    let of_credentials = [
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "NotSignedUp",
        "InvalidClientTokenId",
    ];
    if let Some(code) = of_credentials.into_iter().find(|code| says(code)) {
        return RemoteError::Credentials { url, reason: code.to_owned() };
    }
    match error {
        object_store::Error::NotFound { .. } => RemoteError::Missing { url, object: object.to_owned() },
        object_store::Error::PermissionDenied { .. } => RemoteError::Denied { url, action: action() },
        object_store::Error::Unauthenticated { .. } => {
            RemoteError::Credentials { url, reason: "Unauthenticated".to_owned() }
        }
        // Without credentials the client asks the machine for a role, which outside of a cloud nobody answers.
        _ if says("169.254.") || says("metadata endpoint") || says("instance metadata") => {
            RemoteError::Credentials { url, reason: "there are none".to_owned() }
        }
        _ if says("error sending request") || says("timed out") || says("dns error") || says("Timeout") => {
            RemoteError::Unreachable { url, reason: short(&text) }
        }
        _ => RemoteError::Refused { url, action: action(), reason: short(&text) },
    }
}

/// An error with what it was caused by.
fn chain(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Most of them already end with their cause.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// One line of what a server said; the rest is for nobody.
fn short(text: &str) -> String {
    const LONGEST: usize = 300;
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_becomes_a_sentence() {
        let told = |text: &str| {
            let error = object_store::Error::Generic { store: "S3", source: text.to_owned().into() };
            meaning("s3://b/p", "commits/1", "write", &error).to_string()
        };
        for (said, expected) in [
            ("<Code>NoSuchBucket</Code>", "there is no such bucket"),
            ("<Code>RequestTimeTooSkewed</Code>", "this machine's clock is too far from the store's"),
            ("<Code>SignatureDoesNotMatch</Code>", "refuses the credentials (SignatureDoesNotMatch)"),
            ("<Code>ExpiredToken</Code>", "refuses the credentials (ExpiredToken)"),
            ("<Code>PermanentRedirect</Code>", "in another region than AWS_REGION says"),
            ("error sending request for url: dns error", "cannot be reached: "),
            (
                "Error getting credentials from http://169.254.169.254/latest",
                "refuses the credentials (there are none)",
            ),
            (
                "<Code>SlowDown</Code> once\n\tmore",
                "cannot write commits/1: Generic S3 error: <Code>SlowDown</Code> once more",
            ),
        ] {
            assert!(told(said).starts_with("s3://b/p"), "{}", told(said));
            assert!(told(said).contains(expected), "{}", told(said));
        }
        assert!(told(&"x".repeat(10_000)).len() < 400);
    }
}
