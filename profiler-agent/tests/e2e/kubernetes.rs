//! What Kubernetes calls pods, as its API server says.

use std::{
    collections::BTreeSet,
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::json;
use testprogs::{Program, Variant::FramePointers};

use crate::{
    cgroups::Cgroup,
    tls,
    vesta::{Server, folded, pprof, program, quiet, run, text},
};

const TOKEN: &str = "let-me-in";

/// A pod's cgroup, and what the server says of it.
struct Pod {
    cgroup: Cgroup,
    list: String,
}

impl Pod {
    fn new(number: u32) -> Self {
        let (id, own) = (std::process::id(), number);
        let uid = format!("0f5a1c2d-3e4f-5061-{own:04x}-{id:012x}");
        let container = format!("{own:04x}{id:060x}");
        let cgroup = Cgroup::new(&format!(
            "kubepods-burstable-pod{}.slice/cri-containerd-{container}.scope",
            uid.replace('-', "_")
        ));
        let list = json!({"kind": "PodList", "apiVersion": "v1", "items": [{
            "metadata": {
                "name": "cart-7d9f8-abcde", "namespace": "shop", "uid": uid,
                "labels": {"pod-template-hash": "7d9f8", "app.kubernetes.io/name": "Cart"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "cart-7d9f8", "controller": true}]
            },
            "spec": {"containers": [{"name": "server", "image": "shop/cart:1.2"}]},
            "status": {"containerStatuses": [{"name": "server", "containerID": format!("containerd://{container}")}]}
        }]});
        Self { cgroup, list: list.to_string() }
    }
}

#[test]
fn samples_have_the_names_that_the_server_gives_their_pods() {
    let _quiet = quiet();
    let pod = Pod::new(1);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let tls = tls::serve(folder.path(), Some(TOKEN));
    fs::write(path("token"), TOKEN).unwrap();
    let config = format!(
        "kubernetes = \"{}\"\nkubernetes_node = \"node-1\"\nkubernetes_token = \"{}\"\nkubernetes_ca = \"{}\"\n\
         pod_label = [\"app.kubernetes.io/name\"]\n",
        tls.url,
        path("token"),
        tls.certificate
    );
    fs::write(path("vesta.toml"), config).unwrap();
    // At first the server knows of no pods at all; the window, which ends with a minute, is most likely still open when it does.
    let running = pod.cgroup.start(&format!("{} 120", program(Program::Shares, FramePointers)));
    let data = folder.path().join("data");
    let server = Server::start(&data, &["--config", &path("vesta.toml"), "--window", "60s"]);
    let samples = |selector: &str| -> u64 {
        let args = ["query", "--server", &server.url, selector, "--format", "folded", "--from", "-5m"];
        folded(&text(&run(&args, 0).stdout)).iter().map(|stack| stack.samples).sum()
    };
    server.wait("an answer that is none", |server| server.metrics()["vesta_kubernetes_failed_total"] >= 1.0);
    server.wait("samples without names", |_| samples("process=\"shares\",workload!=\"cart\"") > 20);
    fs::create_dir_all(path("api/v1")).unwrap();
    fs::write(path("api/v1/pods"), &pod.list).unwrap();
    let named = "namespace=\"shop\",pod=\"cart-7d9f8-abcde\",container_name=\"server\",workload=\"cart\",\
        workload_kind=\"Deployment\",container_image=\"shop/cart:1.2\",pod_label_app_kubernetes_io_name=\"Cart\"";
    server.wait("samples with names", |_| samples(named) > 20);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let window = (now / 60 * 60).to_string();
    assert_eq!(samples(&format!("{named},process!=\"shares\"")), 0);
    assert_eq!(server.metrics()["vesta_kubernetes_pods"], 1.0);
    assert_eq!(server.end(), Some(0));
    drop(running);
    // The window in which the names came is closed, and all its samples have them.
    let data = data.to_str().unwrap();
    let stored = |selector: &str, from: &str| -> u64 {
        let args = ["query", "--data-dir", data, selector, "--format", "folded", "--from", from];
        folded(&text(&run(&args, 0).stdout)).iter().map(|stack| stack.samples).sum()
    };
    assert!(stored(named, "-5m") > 20);
    assert_eq!(stored("process=\"shares\",workload!=\"cart\"", &window), 0);
}

#[test]
fn a_short_recording_has_names_of_pods_and_a_server_that_is_not_trusted_is_not_asked() {
    let _quiet = quiet();
    let pod = Pod::new(2);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let tls = tls::serve(folder.path(), None);
    fs::create_dir_all(path("api/v1")).unwrap();
    fs::write(path("api/v1/pods"), &pod.list).unwrap();
    let command = pod.cgroup.script(&format!("{} 1.5", program(Program::Shares, FramePointers)));
    let workloads = |more: &[&str]| {
        let file = path("out.pb.gz");
        let arguments = ["record", "--json", "--output", &file, "--kubernetes", &tls.url];
        run(&[&arguments[..], more, &["--", "sh", "-c", &command]].concat(), 0);
        let profile = pprof(file.as_ref());
        let string = |at: i64| profile.string_table[at as usize].clone();
        let of_shares = profile.sample.iter().filter(|sample| {
            sample.label.iter().any(|label| string(label.key) == "process" && string(label.str) == "shares")
        });
        let workload = |sample: &pprof::protos::Sample| {
            let label = sample.label.iter().find(|label| string(label.key) == "workload");
            label.map_or_else(String::new, |label| string(label.str))
        };
        of_shares.map(workload).collect::<BTreeSet<String>>()
    };
    assert_eq!(workloads(&["--kubernetes-ca", &tls.certificate]), ["cart".to_owned()].into());
    assert_eq!(workloads(&[]), [String::new()].into());
}
