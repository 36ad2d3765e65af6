//! Labels of a process beside its name: what its cgroup's path says of containers, pods and units, and its command line.
//!
//! Container runtimes and service managers write into the path who they are and what they run; nothing has to be asked of
//! them. What Kubernetes calls a pod is found in the names of its log files, where these are.

use std::{fs, io::Read, path::Path};

/// Names of logs that are looked at: those of the pods of one machine, several times over.
const LOGS_AT_MOST: usize = 8192;
/// Of a command line, before and after it is cleaned.
const COMMAND_BYTES_MAX: u64 = 4096;
const COMMAND_KEPT: usize = 512;
/// What takes the place of a secret.
const REDACTED: &str = "[redacted]";

/// Words in the names of options and variables whose values are secrets.
pub(crate) const SECRET_WORDS: [&str; 12] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api-key",
    "api_key",
    "credential",
    "auth",
    "private",
    "cookie",
];

/// A label and its value.
pub(crate) type Label = (&'static str, String);

/// What the paths in `/proc/PID/cgroup` say: `container` and `container_runtime`, `pod_uid`, `unit`.
pub(crate) fn of_cgroups(text: &str) -> Vec<Label> {
    // Version 2 first; systemd's own hierarchy of version 1, then the others.
    let rank = |line: &&str| match line.split(':').nth(1) {
        Some("") => 0,
        Some("name=systemd") => 1,
        _ => 2,
    };
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_by_key(rank);
    let paths = lines.iter().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.map(of_path).find(|labels| !labels.is_empty()).unwrap_or_default()
}

/// What one path says.
pub(crate) fn of_path(path: &str) -> Vec<Label> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let mut labels = Vec::new();
    // The innermost container, which may lie within another one.
    if let Some((at, runtime, id)) = parts
        .iter()
        .enumerate()
        .rev()
        .find_map(|(at, part)| container(part).map(|(runtime, id)| (at, runtime, id)))
    {
        labels.push(("container", id.to_owned()));
        let runtime =
            runtime.or_else(|| at.checked_sub(1).and_then(|parent| runtime_of_parent(parts[parent])));
        labels.extend(runtime.map(|runtime| ("container_runtime", runtime.to_owned())));
    }
    if let Some(uid) = parts.iter().rev().find_map(|part| pod_uid(part)) {
        labels.push(("pod_uid", uid));
    }
    let is_unit =
        |part: &&&str| part.ends_with(".service") || (part.ends_with(".scope") && container(part).is_none());
    if let Some(unit) = parts.iter().rev().find(is_unit) {
        labels.push(("unit", (*unit).to_owned()));
    }
    labels
}

/// The runtime, if the name tells it, and the container's id: `docker-ID.scope`, `cri-containerd-ID.scope`,
/// `crio-ID.scope`, `libpod-ID.scope`; or the bare id, as of the cgroupfs driver; `lxc.payload.NAME`.
fn container(part: &str) -> Option<(Option<&'static str>, &str)> {
    if let Some(name) = part.strip_prefix("lxc.payload.").filter(|name| !name.is_empty()) {
        return Some((Some("lxc"), name));
    }
    if let Some(machine) = part.strip_prefix("machine-").and_then(|rest| rest.strip_suffix(".scope")) {
        return Some((Some("systemd-nspawn"), machine));
    }
    let scope = part.strip_suffix(".scope").unwrap_or(part);
    let (prefix, id) = scope.rsplit_once(['-', ':']).unwrap_or(("", scope));
    if id.len() != 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    // With containerd and the cgroup driver of systemd: `SLICE:cri-containerd:ID`.
    let prefix = prefix.rsplit(':').next().unwrap_or(prefix);
    let runtime = match prefix {
        "docker" => Some("docker"),
        "cri-containerd" | "containerd" | "nerdctl" => Some("containerd"),
        "crio" => Some("cri-o"),
        "libpod" => Some("podman"),
        _ => None,
    };
    // Podman's monitor is no container.
    (prefix != "libpod-conmon" && prefix != "crio-conmon").then_some((runtime, id))
}

fn runtime_of_parent(parent: &str) -> Option<&'static str> {
    match parent {
        "docker" => Some("docker"),
        "libpod_parent" => Some("podman"),
        _ => None,
    }
}

/// `kubepods-burstable-podUID.slice`, where the dashes of the id are underscores, or `podUID`.
fn pod_uid(part: &str) -> Option<String> {
    let name = part.split(':').next().unwrap_or(part);
    let name = name.strip_suffix(".slice").unwrap_or(name);
    let (before, uid) = name.rsplit_once("pod")?;
    let is_of_kubernetes = before.starts_with("kubepods") && before.ends_with('-');
    if !before.is_empty() && !is_of_kubernetes {
        return None;
    }
    let uid = uid.replace('_', "-");
    // Of static pods it is a hash, without dashes.
    let is_uid = uid.len() >= 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_uid.then_some(uid)
}

/// What Kubernetes calls the pod and the container of these labels: `namespace`, `pod`, `container_name`, by the names of
/// its log files below this folder (/var/log): `pods/NAMESPACE_POD_UID`, `containers/POD_NAMESPACE_CONTAINER-ID.log`.
pub(crate) fn of_logs(logs: &Path, labels: &[Label]) -> Vec<Label> {
    let value =
        |wanted: &str| labels.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str());
    let Some(uid) = value("pod_uid") else { return Vec::new() };
    let mut found = Vec::new();
    let pod = names_in(&logs.join("pods")).into_iter().find_map(|name| {
        let (namespace, rest) = name.strip_suffix(uid)?.strip_suffix('_')?.split_once('_')?;
        Some((namespace.to_owned(), rest.to_owned()))
    });
    if let Some((namespace, pod)) = pod {
        found.extend([("namespace", namespace), ("pod", pod)]);
    }
    let of_container = |name: String| {
        let rest = name.strip_suffix(".log")?.strip_suffix(value("container")?)?.strip_suffix('-')?;
        Some(rest.rsplit_once('_')?.1.to_owned())
    };
    if let Some(name) = names_in(&logs.join("containers")).into_iter().find_map(of_container) {
        found.push(("container_name", name));
    }
    found
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(LOGS_AT_MOST);
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The command line of a process, without secrets; none if it has none, as kernel threads.
pub(crate) fn command_line(pid: u32, words: &[String]) -> Option<String> {
    let file = fs::File::open(format!("/proc/{pid}/cmdline")).ok()?;
    let mut bytes = Vec::new();
    file.take(COMMAND_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let arguments: Vec<&str> = text.trim_end_matches('\0').split('\0').collect();
    let line = cleaned(&arguments, words);
    (!line.is_empty()).then_some(line)
}

/// The arguments, separated by spaces; values of options and variables with one of the words in their names, and
/// passwords in addresses, are replaced.
pub(crate) fn cleaned(arguments: &[&str], words: &[String]) -> String {
    let is_secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        SECRET_WORDS.iter().any(|word| name.contains(word)) || words.iter().any(|word| name.contains(&**word))
    };
    let mut line = String::new();
    let mut is_value_of_secret = false;
    for argument in arguments {
        let argument: String = argument.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let shown = match argument.split_once('=') {
            _ if is_value_of_secret && !argument.starts_with('-') => REDACTED.to_owned(),
            Some((name, _)) if is_secret(name) => format!("{name}={REDACTED}"),
            _ => without_password(&argument),
        };
        is_value_of_secret = argument.starts_with('-') && !argument.contains('=') && is_secret(&argument);
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&shown);
    }
    let end = (0..=COMMAND_KEPT.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
    line.truncate(end);
    line
}

/// `scheme://user:password@host` without the password.
fn without_password(argument: &str) -> String {
    let Some((scheme, rest)) = argument.split_once("://") else { return argument.to_owned() };
    let authority_ends = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some(at) = rest[..authority_ends].rfind('@') else { return argument.to_owned() };
    match rest[..at].split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:{REDACTED}{}", &rest[at..]),
        None => argument.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f1c0f5a9a9b7a2d1d4c5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f70819203";
    const UID: &str = "0f5a1c2d-3e4f-5061-7283-94a5b6c7d8e9";

    fn shown(path: &str) -> String {
        let path = path.replace("UID_", &UID.replace('-', "_")).replace("U-I-D", UID).replace("ID", ID);
        let labels = of_path(&path).into_iter().map(|(name, value)| format!("{name}={value}"));
        labels.collect::<Vec<_>>().join(" ").replace(ID, "ID").replace(UID, "U-I-D")
    }

    #[test]
    fn paths_of_runtimes_and_of_systemd_say_what_they_run() {
        for (path, labels) in [
            ("/", ""),
            ("/user.slice/user-0.slice/session-3.scope", "unit=session-3.scope"),
            ("/system.slice/nginx.service", "unit=nginx.service"),
            ("/system.slice/docker-ID.scope", "container=ID container_runtime=docker"),
            ("/docker/ID", "container=ID container_runtime=docker"),
            (
                "/docker/ID/system.slice/cron.service",
                "container=ID container_runtime=docker unit=cron.service",
            ),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID_.slice/cri-containerd-ID.scope",
                "container=ID container_runtime=containerd pod_uid=U-I-D",
            ),
            (
                "/kubepods.slice/kubepods-podUID_.slice/crio-ID.scope/container",
                "container=ID container_runtime=cri-o pod_uid=U-I-D",
            ),
            ("/kubepods/besteffort/podU-I-D/ID", "container=ID pod_uid=U-I-D"),
            (
                "/system.slice/containerd.service/kubepods-burstable-podUID_.slice:cri-containerd:ID",
                "container=ID container_runtime=containerd pod_uid=U-I-D unit=containerd.service",
            ),
            ("/machine.slice/libpod-ID.scope/container", "container=ID container_runtime=podman"),
            ("/machine.slice/libpod-conmon-ID.scope", "unit=libpod-conmon-ID.scope"),
            (
                "/lxc.payload.web/system.slice/ssh.service",
                "container=web container_runtime=lxc unit=ssh.service",
            ),
            ("/machine.slice/machine-web.scope", "container=web container_runtime=systemd-nspawn"),
            ("/kubepods/podium", ""),
            ("/tripod0123456789abcdef0123456789abcdef", ""),
        ] {
            assert_eq!(shown(path), labels, "{path}");
        }
    }

    #[test]
    fn the_hierarchy_that_says_something_is_taken() {
        let v1 = format!("12:pids:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/\n");
        assert_eq!(of_cgroups(&v1)[0], ("container", ID.to_owned()));
        let both = "1:name=systemd:/system.slice/a.service\n0::/system.slice/b.service\n";
        assert_eq!(of_cgroups(both), [("unit", "b.service".to_owned())]);
        assert!(of_cgroups("garbage\n\n:::").is_empty());
    }

    #[test]
    fn names_of_pods_are_in_the_names_of_their_logs() {
        let logs = tempfile::tempdir().unwrap();
        fs::create_dir_all(logs.path().join(format!("pods/shop_cart-7d9f_{UID}"))).unwrap();
        fs::create_dir_all(logs.path().join("containers")).unwrap();
        fs::write(logs.path().join(format!("containers/cart-7d9f_shop_server-{ID}.log")), "").unwrap();
        let labels = [("container", ID.to_owned()), ("pod_uid", UID.to_owned())];
        let expected = [("namespace", "shop"), ("pod", "cart-7d9f"), ("container_name", "server")];
        assert_eq!(of_logs(logs.path(), &labels), expected.map(|(name, value)| (name, value.to_owned())));
        assert!(of_logs(logs.path(), &labels[..1]).is_empty());
        assert!(of_logs(Path::new("/nowhere"), &labels).is_empty());
    }

    #[test]
    fn secrets_of_command_lines_are_replaced() {
        let clean = |line: &str| cleaned(&line.split(' ').collect::<Vec<_>>(), &["pin".to_owned()]);
        for (line, expected) in [
            ("serve --port 80", "serve --port 80"),
            ("mysql --password=hunter2 db", "mysql --password=[redacted] db"),
            ("mysql --Password hunter2 db", "mysql --Password [redacted] db"),
            ("x --no-auth --port 80", "x --no-auth --port 80"),
            ("env API_TOKEN=abc run", "env API_TOKEN=[redacted] run"),
            ("psql postgres://me:hunter2@db/x?y=1", "psql postgres://me:[redacted]@db/x?y=1"),
            ("curl https://example.com/a:b@c", "curl https://example.com/a:b@c"),
            ("x --pin 1234", "x --pin [redacted]"),
        ] {
            assert_eq!(clean(line), expected);
        }
        assert_eq!(cleaned(&["a\u{1b}[31m"], &[]), "a [31m");
        assert!(cleaned(&["é".repeat(1000).as_str()], &[]).len() <= COMMAND_KEPT);
    }
}
