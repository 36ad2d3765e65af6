//! What a list of pods says of each: its labels in profiles.
//!
//! Source: Kubernetes API reference, `PodList` of `v1`. Only what is used is looked at, and all of it may be missing.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::Deserialize;

/// A label and its value.
pub(super) type Label = (String, String);

/// Longest value of a label that is taken over, bytes: what Kubernetes allows names to have (253), and images with digests.
const VALUE_BYTES_MAX: usize = 512;

/// Labels of a pod, and what each of its containers has beside them, by the container's id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) labels: Vec<Label>,
    pub(super) containers: HashMap<String, Vec<Label>>,
}

impl Pod {
    /// The labels of a process in this container, or in none that is known. None if the pod has no such container (yet).
    pub(super) fn labels_in(&self, container: Option<&str>) -> Option<Vec<Label>> {
        let of_container = match container {
            Some(id) => &self.containers.get(id)?[..],
            None => &[],
        };
        Some(self.labels.iter().chain(of_container).cloned().collect())
    }
}

/// The pods of a list by what cgroups call them: their uid, or for static pods the hash of their configuration, since these
/// have another uid on the server. `wanted` are the keys of pods' own labels that are taken over.
pub(super) fn pods(body: &[u8], wanted: &[String]) -> Result<HashMap<String, Pod>, String> {
    let list: List = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if list.kind != "PodList" {
        return Err(format!("the answer is a `{}`, no list of pods", short(&list.kind)));
    }
    let named = |item: Item| {
        let name = match item.metadata.annotations.as_ref().and_then(|all| all.config_hash.clone()) {
            Some(hash) => hash,
            None => item.metadata.uid.clone(),
        };
        (name, pod(&item, wanted))
    };
    Ok(list.items.unwrap_or_default().into_iter().map(named).collect())
}

/// What an answer that is an error says of the reason, if it does: a `Status` of `v1`.
pub(super) fn reason(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Status {
        message: String,
    }
    serde_json::from_slice::<Status>(body).ok().map(|status| short(&status.message).to_owned())
}

/// The name of a pod's own label in profiles: `app.kubernetes.io/name` is `pod_label_app_kubernetes_io_name`.
pub(super) fn name_of_pod_label(key: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    format!("pod_label_{}", key.chars().map(plain).collect::<String>())
}

fn pod(item: &Item, wanted: &[String]) -> Pod {
    let Metadata { name, namespace, labels, .. } = &item.metadata;
    let mut own = vec![label("namespace", namespace), label("pod", name)];
    if let Some((kind, workload)) = workload(&item.metadata) {
        own.extend([label("workload", &workload), label("workload_kind", &kind)]);
    }
    for key in wanted {
        own.extend(
            labels
                .as_ref()
                .and_then(|labels| labels.get(key))
                .map(|value| label(&name_of_pod_label(key), value)),
        );
    }
    own.retain(|(_, value)| !value.is_empty());
    let images = item.spec.images();
    let containers = item.status.containers().flat_map(|status| {
        let mut labels = vec![label("container_name", &status.name)];
        let image = images.get(&*status.name).copied().or(status.image.as_deref());
        labels.extend(image.filter(|image| !image.is_empty()).map(|image| label("container_image", image)));
        status.ids().map(move |id| (id.to_owned(), labels.clone()))
    });
    Pod { containers: containers.collect(), labels: own }
}

fn label(name: &str, value: &str) -> Label {
    (name.to_owned(), short(value).to_owned())
}

fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(VALUE_BYTES_MAX)]
}

/// Kind and name of what the pod was made for: of a `ReplicaSet` that a `Deployment` has made the deployment, of a `Job` that a
/// `CronJob` has made the latter, since the others have a new name with each version or run.
fn workload(metadata: &Metadata) -> Option<(String, String)> {
    let owners = metadata.owner_references.as_ref()?;
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    let of = |kind: &str, name: &str| Some((kind.to_owned(), name.to_owned()));
    match &*owner.kind {
        "ReplicaSet" => {
            let hash = metadata.labels.as_ref().and_then(|labels| labels.get("pod-template-hash"));
            let before = hash.and_then(|hash| owner.name.strip_suffix(&**hash)?.strip_suffix('-'));
            before.map_or_else(|| of("ReplicaSet", &owner.name), |name| of("Deployment", name))
        }
        "Job" => {
            let cron_job = cron_job(&owner.name, metadata.creation_timestamp.as_deref());
            cron_job.map_or_else(|| of("Job", &owner.name), |name| of("CronJob", name))
        }
        // A static pod belongs to its node; what it is called ends with that node's name.
        "Node" => of("Static", metadata.name.strip_suffix(&format!("-{}", owner.name))?),
        kind => of(kind, &owner.name),
    }
}

/// The name of the cron job that has made a job: it calls jobs after itself and the minute they were due, counted from 1970. Any
/// other number at the end is part of the job's own name.
fn cron_job<'a>(job: &'a str, created: Option<&str>) -> Option<&'a str> {
    /// Cron jobs may start runs late: up to `startingDeadlineSeconds`, and retried pods come later still.
    const MINUTES_LATE_MAX: i64 = 7 * 24 * 60;
    let (name, minute) = job.rsplit_once('-')?;
    let created: Timestamp = created?.parse().ok()?;
    let late = (created.as_second() / 60).checked_sub(minute.parse().ok()?)?;
    (-1..=MINUTES_LATE_MAX).contains(&late).then_some(name)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct List {
    kind: String,
    items: Option<Vec<Item>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Item {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<Annotations>,
    owner_references: Option<Vec<Owner>>,
    creation_timestamp: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "kubernetes.io/config.hash")]
    config_hash: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Owner {
    kind: String,
    name: String,
    controller: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    containers: Option<Vec<Container>>,
    init_containers: Option<Vec<Container>>,
    ephemeral_containers: Option<Vec<Container>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Container {
    name: String,
    image: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    container_statuses: Option<Vec<ContainerStatus>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
    ephemeral_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    image: Option<String>,
    /// `containerd://3f1c…`.
    #[serde(rename = "containerID")]
    container_id: Option<String>,
    /// Of the one before, when the container was started again.
    last_state: Option<State>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct State {
    terminated: Option<Terminated>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Terminated {
    #[serde(rename = "containerID")]
    container_id: Option<String>,
}

impl Spec {
    /// The image that each container is said to run, by its name.
    fn images(&self) -> HashMap<&str, &str> {
        let all = [&self.containers, &self.init_containers, &self.ephemeral_containers];
        let containers = all.into_iter().flatten().flatten();
        containers.filter_map(|container| Some((&*container.name, container.image.as_deref()?))).collect()
    }
}

impl Status {
    fn containers(&self) -> impl Iterator<Item = &ContainerStatus> {
        let all =
            [&self.container_statuses, &self.init_container_statuses, &self.ephemeral_container_statuses];
        all.into_iter().flatten().flatten()
    }
}

impl ContainerStatus {
    /// Its id without the runtime, and that of the one before.
    fn ids(&self) -> impl Iterator<Item = &str> {
        let last =
            self.last_state.as_ref().and_then(|state| state.terminated.as_ref()?.container_id.as_deref());
        let ids = self.container_id.as_deref().into_iter().chain(last);
        ids.map(|id| id.split_once("://").map_or(id, |(_, id)| id)).filter(|id| !id.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn item(metadata: Value) -> Pod {
        let items = json!({"kind": "PodList", "items": [{"metadata": metadata}]});
        let pods = pods(items.to_string().as_bytes(), &["app.kubernetes.io/name".to_owned()]).unwrap();
        pods.into_values().next().unwrap()
    }

    fn shown(labels: &[Label]) -> String {
        labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_pod_is_called_by_its_workload_and_its_containers_by_their_ids() {
        let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": [{
            "metadata": {
                "name": "cart-7d9f8-abcde", "namespace": "shop", "uid": "u-1",
                "labels": {"app": "cart", "app.kubernetes.io/name": "Cart", "pod-template-hash": "7d9f8"},
                "ownerReferences": [
                    {"kind": "Other", "name": "no controller"},
                    {"kind": "ReplicaSet", "name": "cart-7d9f8", "controller": true}
                ]
            },
            "spec": {"containers": [{"name": "server", "image": "shop/cart:1.2"}], "initContainers": null},
            "status": {
                "containerStatuses": [
                    {"name": "server", "containerID": "containerd://aa", "image": "sha256:77",
                     "lastState": {"terminated": {"containerID": "containerd://99"}}},
                    {"name": "waiting", "state": {"waiting": {}}}
                ],
                "initContainerStatuses": [{"name": "setup", "containerID": "cri-o://bb", "image": "shop/setup:3"}]
            }
        }]});
        let wanted = ["app.kubernetes.io/name".to_owned(), "not/there".to_owned()];
        let pods = pods(list.to_string().as_bytes(), &wanted).unwrap();
        let pod = &pods["u-1"];
        let of_pod = "namespace=shop pod=cart-7d9f8-abcde workload=cart workload_kind=Deployment \
            pod_label_app_kubernetes_io_name=Cart";
        assert_eq!(shown(&pod.labels_in(None).unwrap()), of_pod);
        for (id, of_container) in [
            ("aa", "container_name=server container_image=shop/cart:1.2"),
            ("99", "container_name=server container_image=shop/cart:1.2"),
            ("bb", "container_name=setup container_image=shop/setup:3"),
        ] {
            assert_eq!(shown(&pod.labels_in(Some(id)).unwrap()), format!("{of_pod} {of_container}"));
        }
        assert_eq!(pod.labels_in(Some("cc")), None);
    }

    #[test]
    fn workloads_are_what_keeps_its_name_from_version_to_version_and_from_run_to_run() {
        let owned = |kind: &str, name: &str, hash: Option<&str>| {
            let pod = item(json!({
                "name": "p-node-1", "namespace": "n", "creationTimestamp": "2026-11-30T06:00:07Z",
                "labels": hash.map(|hash| json!({"pod-template-hash": hash})),
                "ownerReferences": [{"kind": kind, "name": name, "controller": true}]
            }));
            let value = |wanted: &str| {
                pod.labels.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value).to_owned()
            };
            format!("{}/{}", value("workload_kind"), value("workload"))
        };
        // 2026-11-30T06:00Z is minute 29,933,640.
        for (kind, name, hash, expected) in [
            ("ReplicaSet", "cart-7d9f8", Some("7d9f8"), "Deployment/cart"),
            ("ReplicaSet", "cart-7d9f8", Some("other"), "ReplicaSet/cart-7d9f8"),
            ("ReplicaSet", "bare", None, "ReplicaSet/bare"),
            ("Job", "backup-29933640", None, "CronJob/backup"),
            ("Job", "backup-29933641", None, "CronJob/backup"),
            ("Job", "backup-29933700", None, "Job/backup-29933700"),
            ("Job", "migrate-42", None, "Job/migrate-42"),
            ("Job", "migrate", None, "Job/migrate"),
            ("StatefulSet", "db", None, "StatefulSet/db"),
            ("Node", "node-1", None, "Static/p"),
            ("Node", "node-2", None, "/"),
        ] {
            assert_eq!(owned(kind, name, hash), expected, "{kind} {name}");
        }
        assert_eq!(shown(&item(json!({"name": "alone", "namespace": "n"})).labels), "namespace=n pod=alone");
    }

    #[test]
    fn static_pods_are_found_by_what_their_cgroups_call_them() {
        let hash = "9aac5b5c8815def09a2ef9e37b89da55";
        let items = json!({"kind": "PodList", "items": [
            {"metadata": {"name": "etcd-a", "uid": "u-2", "annotations": {"kubernetes.io/config.hash": hash, "x": "y"}}}
        ]});
        let pods = pods(items.to_string().as_bytes(), &[]).unwrap();
        assert_eq!(pods.keys().collect::<Vec<_>>(), [hash]);
    }

    #[test]
    fn what_is_no_list_of_pods_is_refused() {
        let refused = |body: &str| pods(body.as_bytes(), &[]).unwrap_err();
        assert!(refused("<html>").contains("expected value"));
        assert!(refused(r#"{"kind":"NodeList","items":[]}"#).contains("NodeList"));
        assert!(refused(r#"{"kind":"PodList","items":[{"metadata":{"name":7}}]}"#).contains("invalid type"));
        let deep = format!(r#"{{"kind":"PodList","items":[{{"metadata":{}"#, "[".repeat(100_000));
        assert!(!refused(&deep).is_empty() && !refused(&"[".repeat(100_000)).is_empty());
        assert_eq!(pods(br#"{"kind":"PodList","items":null}"#, &[]), Ok(HashMap::new()));
        let forbidden = br#"{"kind":"Status","message":"pods is forbidden","code":403}"#;
        assert_eq!((reason(forbidden), reason(b"no")), (Some("pods is forbidden".to_owned()), None));
        let long = item(json!({"name": "ü".repeat(1000), "namespace": ""}));
        assert!(long.labels.len() == 1 && long.labels[0].1.len() <= VALUE_BYTES_MAX);
    }
}
