//! Profiles of other tools are taken, from this machine and no page.

use super::*;
use crate::render::{Format, RenderOptions};
use crate::support::{REDIS, generated};

const TYPE: (&str, &str) = ("content-type", "application/octet-stream");
const FOLDED: &[u8] = b"app;main;work 7\napp;main 1\n";

#[test]
fn an_imported_file_is_there_beside_everything_else() {
    let server = Server::start(&[two_processes()]);
    let at = START_MS / 1000 + 5;
    let path = format!("/api/v1/import?time={at}&label=team=db&label=host=elsewhere&event=wall");
    let reply = server.send("POST", &path, &[TYPE], FOLDED);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let until_ms = at * 1000 + 1;
    assert_eq!(
        reply.json(),
        serde_json::json!({"samples": 8, "events": ["wall"], "from_ms": at * 1000, "until_ms": until_ms})
    );
    let folded = server.get_range("/api/v1/query?format=folded&query=team%3D%22db%22,host%3D%22elsewhere%22");
    assert_eq!(folded.text(), "app;main 1\napp;main;work 7\n");
    assert_eq!(server.get_range("/api/v1/flame").json()["samples"], 48);
    let truth = server.get_range("/api/v1/truth?query=event%3D%22wall%22").json();
    assert_eq!((&truth["complete"], &truth["reasons"][0]["reason"]), (&0.into(), &"imported".into()));
    assert!(truth["reasons"][0]["text"].as_str().unwrap().starts_with("Another profiler"), "{truth}");
    assert!(server.get("/metrics").text().contains("vesta_queries_total{kind=\"import\"} 1\n"));
}

#[test]
fn what_one_server_exports_another_imports() {
    let profile = generated(8, 200);
    let (from, to) = (Server::start(std::slice::from_ref(&profile)), Server::start(&[]));
    let pprof = from.get_range("/pprof").body;
    assert_eq!(to.send("POST", "/api/v1/import", &[TYPE], &pprof).status, 200);
    for path in ["/api/v1/query?format=folded", "/api/v1/query?format=folded&by=tid", "/api/v1/labels"] {
        // The generated marks have no brackets before they are written, and sort in another way.
        let lines = |server: &Server| {
            let mut lines: Vec<_> = server.get_range(path).text().lines().map(str::to_owned).collect();
            lines.sort_unstable();
            lines
        };
        let (to, from) = (lines(&to), lines(&from));
        let differs = to.iter().zip(&from).find(|(to, from)| to != from);
        assert_eq!((differs, to.len()), (None, from.len()), "{path}");
    }
}

#[test]
fn pages_other_machines_and_wrong_files_are_refused() {
    let server = Server::with(&[], Limits { import_bytes: 1000, ..Limits::default() }, None);
    let send = |path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let reply = server.send("POST", path, headers, body);
        (reply.status, reply.error())
    };
    let import = "/api/v1/import";
    let origin = ("origin", "https://evil.example");
    assert_eq!(send(import, &[TYPE, origin], FOLDED), (403, "files are not taken from pages".into()));
    assert_eq!(send(import, &[("content-type", "text/plain")], FOLDED).0, 415);
    assert_eq!(send(import, &[TYPE], b"{}").0, 400);
    assert_eq!(
        send(import, &[TYPE], b"a;b 1\nc"),
        (
            400,
            "the file is not imported: line 2: `c` is not a folded stack, which ends in a space and a count"
                .into()
        )
    );
    assert_eq!(send(&format!("{import}?label=a%20b=c"), &[TYPE], FOLDED).0, 400);
    assert_eq!(send(&format!("{import}?time=soon"), &[TYPE], FOLDED).0, 400);
    assert_eq!(send(import, &[TYPE], &[b'x'; 1001]).0, 413);
    assert_eq!(server.get(import).status, 405);
    let open = Names::new("0.0.0.0:1".parse().unwrap(), &[]);
    assert!(!open.are_local() && Names::new("127.0.0.1:1".parse().unwrap(), &[]).are_local());
    let mut pprof = Vec::new();
    let mut maker = Maker::default();
    maker.stack(REDIS, &[native("main")], 1);
    Format::Pprof.write(&maker.finish(), &RenderOptions::default(), &mut pprof).unwrap();
    assert_eq!(server.send("POST", import, &[TYPE], &pprof).status, 200);
}

#[test]
fn of_several_events_one_is_shown_and_all_are_kept() {
    let server = Server::start(&[]);
    let script =
        b"app 1/1 1.5: 10 cpu-clock:\n\t 12 main (/bin/a)\n\napp 1/1 1.6: 1 page-faults:\n\t 13 f (/bin/a)\n";
    // The type of a body may say more than it must.
    let kind = ("content-type", "Application/octet-stream; charset=binary");
    let convert = |format: &str| {
        server.send("POST", &format!("/api/v1/convert?format={format}"), &[kind], script).text().to_owned()
    };
    assert_eq!(convert("folded"), "app;main 1\n");
    assert!(convert("perf-script").contains("page-faults"));
    let imported = server.send("POST", "/api/v1/import", &[kind], script).json();
    assert_eq!(imported["events"], serde_json::json!(["cpu-clock", "page-faults"]));
}
