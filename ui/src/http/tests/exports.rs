//! Exports agree with each other, and others can read them.

use super::*;
use crate::render::Format;
use crate::support::{PERIOD_NS, START_MS, generated};

#[test]
fn every_export_has_the_same_samples() {
    let profiles = [generated(1, 300), generated(2, 300)];
    let expected: u64 = profiles.iter().map(Profile::samples).sum();
    let server = Server::start(&profiles);
    let export = |format: Format| server.get_range(&format!("/api/v1/query?format={}", format.name()));

    let folded = export(Format::Folded);
    let sum: u64 =
        folded.text().lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
    assert_eq!(sum, expected);

    for pprof in [export(Format::Pprof), server.get_range("/pprof")] {
        assert_eq!(pprof.header("content-type"), "application/octet-stream");
        let name =
            format!("attachment; filename=\"vesta-{}-{}.pb.gz\"", START_MS / 1000, START_MS / 1000 + 10);
        assert_eq!(pprof.header("content-disposition"), name);
        let proto: ::pprof::protos::Profile = prost::Message::decode(&*unpacked(&pprof.body)).unwrap();
        assert_eq!(proto.sample.iter().map(|sample| sample.value[0] as u64).sum::<u64>(), expected);
        assert_eq!(proto.time_nanos, START_MS * 1_000_000);
    }

    assert_eq!(export(Format::PerfScript).text().matches("\n\n").count() as u64, expected);
    let (firefox, speedscope) = (export(Format::Firefox), export(Format::Speedscope));
    assert!(firefox.header("content-disposition").ends_with(".firefox.json\""));
    let sum = |file: &Reply, list: &str, weights: &str| {
        let file = file.json();
        let threads = file[list].as_array().unwrap().iter();
        let weights = threads.flat_map(|thread| thread.pointer(weights).unwrap().as_array().unwrap());
        weights.map(|weight| weight.as_f64().unwrap()).sum::<f64>()
    };
    assert_eq!(sum(&firefox, "threads", "/samples/weight"), expected as f64);
    assert_eq!(sum(&speedscope, "profiles", "/weights"), (expected as i64 * PERIOD_NS) as f64);

    let svg = export(Format::Svg);
    assert_eq!(svg.header("content-type"), "image/svg+xml");
    assert!(svg.header("content-security-policy").starts_with("sandbox"));
    assert!(svg.text().contains(&format!("total_samples=\"{expected}\"")));

    assert_eq!(export(Format::Json).json()["nodes"]["total"][0], expected);
    assert_eq!(export(Format::Json).body, server.get_range("/api/v1/flame").body);
    let top = export(Format::Top);
    assert!(top.text().starts_with(&format!("{expected} samples")), "{}", top.text());
    assert_eq!(top.header("content-disposition"), "");
}

#[test]
fn exports_of_adjoining_ranges_add_up() {
    let profile = generated(4, 300);
    let server = Server::start(std::slice::from_ref(&profile));
    let sums = |from_ms: i64, until_ms: i64| {
        let seconds = |ms: i64| format!("{}.{:03}", ms / 1000, ms % 1000);
        let range = format!("from={}&until={}", seconds(from_ms), seconds(until_ms));
        let folded = server.get(&format!("/api/v1/query?format=folded&by=tid&{range}"));
        let folded: u64 =
            folded.text().lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
        let pprof = server.get(&format!("/pprof?{range}"));
        let proto: ::pprof::protos::Profile = prost::Message::decode(&*unpacked(&pprof.body)).unwrap();
        assert_eq!(proto.sample.iter().map(|sample| sample.value[0] as u64).sum::<u64>(), folded);
        folded
    };
    let cuts = [START_MS, START_MS + 1, START_MS + 2500, START_MS + 7000, START_MS + 10_000];
    let parts: Vec<_> = cuts.windows(2).map(|cut| sums(cut[0], cut[1])).collect();
    assert!(parts.iter().all(|part| *part > 0), "{parts:?}");
    assert_eq!(parts.iter().sum::<u64>(), profile.samples());
}

#[test]
fn pprof_of_the_last_seconds_covers_them() {
    let server = Server::start(&[two_processes()]);
    let proto: ::pprof::protos::Profile =
        prost::Message::decode(&*unpacked(&server.get("/pprof?seconds=30").body)).unwrap();
    assert_eq!(proto.duration_nanos, 30_000_000_000);
    let both = server.get("/pprof?seconds=30&from=-1m");
    assert_eq!((both.status, both.text()), (400, "give either seconds, or from and until\n"));
}

#[test]
fn go_reads_a_profile_from_its_address() {
    let server = Server::start(&[two_processes()]);
    let folder = tempfile::tempdir().unwrap();
    let (from, until) = (START_MS / 1000, START_MS / 1000 + 10);
    let go = |url: String| {
        std::process::Command::new("go")
            .args(["tool", "pprof", "-top", "-sample_index=samples", &url])
            .env("PPROF_TMPDIR", folder.path())
            .output()
            .expect("no Go on this machine: run `cargo xtask setup`")
    };
    let good = go(format!("http://{}/pprof?from={from}&until={until}", server.address));
    let said = String::from_utf8_lossy(&good.stdout);
    assert!(said.lines().any(|line| line.contains("30 75.00%") && line.ends_with("serve")), "{said}");
    let bad = go(format!("http://{}/pprof?query=%7Boops", server.address));
    let said = String::from_utf8_lossy(&bad.stderr);
    assert!(said.contains("bad selector") && said.contains('^'), "the error is shown: {said}");
}

#[test]
fn exports_are_shared_with_pages_that_the_operator_names() {
    let server = Server::start(&[two_processes()]);
    let ask = |method: &str, path: &str, origin: &str| server.request(method, path, &[("origin", origin)]);
    let viewer = "https://viewer.example";
    let allowed = "access-control-allow-origin";
    for path in ["/api/v1/query?format=speedscope", "/pprof"] {
        let reply = ask("GET", path, viewer);
        assert_eq!((reply.status, reply.header(allowed)), (200, viewer), "{path}");
        assert_eq!(
            (reply.header("vary"), reply.header("cross-origin-resource-policy")),
            ("origin", "cross-origin")
        );
        let reply = ask("OPTIONS", path, viewer);
        assert_eq!((reply.status, reply.header(allowed)), (204, viewer), "{path}");
        assert_eq!(reply.header("access-control-allow-private-network"), "true");
        for other in ["https://evil.example", "https://viewer.example.evil.example", "null"] {
            let reply = ask("GET", path, other);
            assert_eq!(
                (reply.header(allowed), reply.header("cross-origin-resource-policy")),
                ("", "same-origin")
            );
            assert_eq!(ask("OPTIONS", path, other).status, 405);
        }
    }
    // Only exports.
    let reply = ask("GET", "/api/v1/status", viewer);
    assert_eq!((reply.status, reply.header(allowed)), (200, ""));
}
