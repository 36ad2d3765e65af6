//! Which API server of Kubernetes is asked, and as whom.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ConfigError;
use crate::cli::KubernetesArgs;

/// Where Kubernetes puts a pod's own account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The server of the cluster that Vesta runs in.
const IN_CLUSTER: &str = "in-cluster";

/// The server, and what it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KubernetesOptions {
    /// `https://HOST:PORT`; `http://` only where nobody has to show a token.
    pub(crate) url: String,
    /// This machine's name in the cluster.
    pub(crate) node: String,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
    /// Keys of pods' own labels that samples get, too.
    pub(crate) pod_labels: Vec<String>,
}

/// What the file says of it; the keys are the flags' names.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct KubernetesOfFile {
    kubernetes: Option<String>,
    kubernetes_node: Option<String>,
    kubernetes_token: Option<PathBuf>,
    kubernetes_ca: Option<PathBuf>,
    pod_label: Option<Vec<String>>,
}

/// The settings of flags over those of the file; none if no server is named. `env` is the environment: a variable's value by
/// its name.
pub(super) fn kubernetes(
    args: &KubernetesArgs,
    said: KubernetesOfFile,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Option<KubernetesOptions>, ConfigError> {
    // An empty one turns off what the file says.
    let Some(url) = args.kubernetes.clone().or(said.kubernetes).filter(|url| !url.is_empty()) else {
        return Ok(None);
    };
    let refused = |message: String| Err(ConfigError::Kubernetes(message));
    let mut token_file = args.kubernetes_token.clone().or(said.kubernetes_token);
    let mut ca_file = args.kubernetes_ca.clone().or(said.kubernetes_ca);
    let url = match url == IN_CLUSTER {
        false => url,
        true => {
            let account = |name: &str| Some(Path::new(SERVICE_ACCOUNT).join(name));
            (token_file, ca_file) =
                (token_file.or_else(|| account("token")), ca_file.or_else(|| account("ca.crt")));
            let (host, port) = (env("KUBERNETES_SERVICE_HOST"), env("KUBERNETES_SERVICE_PORT"));
            match (host, port) {
                (Some(host), Some(port)) if host.contains(':') => format!("https://[{host}]:{port}"),
                (Some(host), Some(port)) => format!("https://{host}:{port}"),
                _ => {
                    return refused(
                        "`in-cluster`, but this is no pod: KUBERNETES_SERVICE_HOST and _PORT are not set; name the server"
                            .into(),
                    );
                }
            }
        }
    };
    let is_named =
        |scheme: &str| url.strip_prefix(scheme).is_some_and(|rest| !rest.trim_matches('/').is_empty());
    if !is_named("https://") && !is_named("http://") {
        return refused(format!("`{url}` is no address of a server: use https://HOST:PORT, or {IN_CLUSTER}"));
    }
    if !is_named("https://") && token_file.is_some() {
        return refused(format!("a token is not sent to `{url}`: use https://"));
    }
    let node = args.kubernetes_node.clone().or(said.kubernetes_node).unwrap_or_else(host_name);
    if node.is_empty() || !node.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')) {
        return refused(format!("`{node}` is no name of a node; `--kubernetes-node` gives one"));
    }
    let keys =
        if args.pod_label.is_empty() { said.pod_label.unwrap_or_default() } else { args.pod_label.clone() };
    let keys: Vec<String> = keys.into_iter().filter(|key| !key.is_empty()).collect();
    let is_key =
        |key: &String| key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/'));
    if let Some(key) = keys.iter().find(|key| !is_key(key)) {
        return refused(format!("`{key}` is no key of a label, as app.kubernetes.io/name is"));
    }
    Ok(Some(KubernetesOptions { url, node, token_file, ca_file, pod_labels: keys }))
}

/// As kubelets call their nodes if nobody says otherwise.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        args: KubernetesArgs,
        said: &str,
        in_pod: Option<&str>,
    ) -> Result<Option<KubernetesOptions>, String> {
        let env = |name: &str| match name {
            "KUBERNETES_SERVICE_HOST" => in_pod.map(str::to_owned),
            "KUBERNETES_SERVICE_PORT" => in_pod.map(|_| "443".to_owned()),
            _ => None,
        };
        kubernetes(&args, toml::from_str(said).unwrap(), env).map_err(|error| error.to_string())
    }

    fn url(url: &str) -> KubernetesArgs {
        KubernetesArgs { kubernetes: Some(url.into()), ..KubernetesArgs::default() }
    }

    #[test]
    fn a_pod_asks_its_own_cluster_with_its_own_account() {
        let options = of(url("in-cluster"), "", Some("10.0.0.1")).unwrap().unwrap();
        let account = |name: &str| Some(PathBuf::from(SERVICE_ACCOUNT).join(name));
        assert_eq!((&*options.url, options.node), ("https://10.0.0.1:443", host_name()));
        assert_eq!((options.token_file, options.ca_file), (account("token"), account("ca.crt")));
        let v6 = of(url("in-cluster"), "kubernetes_token = \"/t\"", Some("fd00::1")).unwrap().unwrap();
        assert_eq!((&*v6.url, v6.token_file), ("https://[fd00::1]:443", Some(PathBuf::from("/t"))));
        assert!(of(url("in-cluster"), "", None).unwrap_err().contains("KUBERNETES_SERVICE_HOST"));
    }

    #[test]
    fn flags_win_over_the_file_and_nothing_is_asked_unless_someone_says_so() {
        let said = "kubernetes = \"https://a\"\nkubernetes_node = \"n1\"\npod_label = [\"app\", \"\"]\n";
        let options = of(KubernetesArgs::default(), said, None).unwrap().unwrap();
        assert_eq!((&*options.url, &*options.node), ("https://a", "n1"));
        assert_eq!(
            (options.pod_labels, options.token_file, options.ca_file),
            (vec!["app".to_owned()], None, None)
        );
        let flags = KubernetesArgs {
            kubernetes_node: Some("n2".into()),
            pod_label: vec!["b/c".into()],
            ..url("http://b")
        };
        let options = of(flags, said, None).unwrap().unwrap();
        assert_eq!(
            (&*options.url, &*options.node, &options.pod_labels[..]),
            ("http://b", "n2", &["b/c".to_owned()][..])
        );
        assert_eq!(of(url(""), said, None), Ok(None));
        assert_eq!(of(KubernetesArgs::default(), "pod_label = [\"app\"]", Some("10.0.0.1")), Ok(None));
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for (args, said, reason) in [
            (url("ftp://a"), "", "`ftp://a` is no address"),
            (url("https://"), "", "is no address"),
            (url("http://a"), "kubernetes_token = \"/t\"", "a token is not sent to `http://a`"),
            (url("https://a"), "kubernetes_node = \"n,metadata.name=x\"", "is no name of a node"),
            (url("https://a"), "pod_label = [\"a b\"]", "`a b` is no key"),
        ] {
            let refused = of(args, said, None).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
    }
}
