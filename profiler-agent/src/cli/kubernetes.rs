//! Where names of pods come from.

use std::path::PathBuf;

use clap::Args;

/// The API server of Kubernetes, and how it is asked.
#[derive(Debug, Default, Args)]
pub(crate) struct KubernetesArgs {
    /// Ask this Kubernetes API server what the pods of this node are called: https://HOST:PORT, or `in-cluster`, the one
    /// of the pod that Vesta runs in, with its service account [default: none]
    #[arg(long, value_name = "URL", env = "VESTA_KUBERNETES")]
    pub(crate) kubernetes: Option<String>,

    /// The node's name there [default: the name of this host]
    #[arg(long, value_name = "NAME", env = "VESTA_KUBERNETES_NODE")]
    pub(crate) kubernetes_node: Option<String>,

    /// A file with the token that the server is shown; read anew each time [default: the service account's in a cluster]
    #[arg(long, value_name = "FILE", env = "VESTA_KUBERNETES_TOKEN")]
    pub(crate) kubernetes_token: Option<PathBuf>,

    /// A file with the certificates by which the server is known [default: the service account's in a cluster]
    #[arg(long, value_name = "FILE", env = "VESTA_KUBERNETES_CA")]
    pub(crate) kubernetes_ca: Option<PathBuf>,

    /// Label samples with these labels of their pods, too, e.g. app.kubernetes.io/name; several with commas [default: none]
    #[arg(long, value_name = "KEY", env = "VESTA_POD_LABEL", value_delimiter = ',')]
    pub(crate) pod_label: Vec<String>,
}
