//! What is profiled: programs that people run, kept busy on every CPU by scripts that never end by themselves.
//!
//! Scripts get the variables CPUS (number of CPUs), DIR (a scratch folder, kept between runs), PORT (a free port of
//! the loopback address), BENCH (this repository's ci/bench), ZSTD_SOURCE and REGEX_SOURCE (folders of crates that
//! are real C and Rust sources at hand), SHORT_LIVED (a test program).

/// A program that must be on the PATH, and the Debian package that has it.
#[derive(Debug, PartialEq)]
pub(in crate::bench) struct Need {
    pub(in crate::bench) program: &'static str,
    pub(in crate::bench) package: &'static str,
}

/// How good stacks can be expected to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::bench) enum Kind {
    /// Compiled ahead of time.
    Native,
    /// With code made at run time, or with very deep stacks and a library of a million rows.
    Hard,
}

impl Kind {
    /// The most broken stacks that Vesta aims at, in percent.
    pub(in crate::bench) fn broken_percent_goal(self) -> f64 {
        match self {
            Kind::Native => 0.1,
            Kind::Hard => 2.0,
        }
    }
}

/// One workload.
#[derive(Debug, PartialEq)]
pub(in crate::bench) struct Workload {
    pub(in crate::bench) name: &'static str,
    pub(in crate::bench) what: &'static str,
    pub(in crate::bench) kind: Kind,
    /// Runs only when named.
    pub(in crate::bench) optional: bool,
    /// A name that only its processes have, where they live too short to be met by looking.
    pub(in crate::bench) process: Option<&'static str>,
    pub(in crate::bench) needs: &'static [Need],
    /// A shell script run once before, not measured; empty for none.
    pub(in crate::bench) prepare: &'static str,
    /// A shell script that keeps the CPUs busy until it is killed.
    pub(in crate::bench) script: &'static str,
}

const fn need(program: &'static str, package: &'static str) -> Need {
    Need { program, package }
}

/// 64 MB of text that is the same for all who have the same sources.
const CORPUS: &str = r#"test -s "$DIR/corpus" || {
    find "$ZSTD_SOURCE" "$REGEX_SOURCE" -type f \( -name '*.c' -o -name '*.h' -o -name '*.rs' \) | LC_ALL=C sort >"$DIR/list"
    for round in 1 2 3 4 5 6 7 8; do xargs -d '\n' cat <"$DIR/list"; done | head -c 64000000 >"$DIR/corpus"
}"#;

/// All workloads.
pub(in crate::bench) static WORKLOADS: [Workload; 12] = [
    Workload {
        name: "redis",
        what: "redis-server under redis-benchmark",
        kind: Kind::Native,
        optional: false,
        process: None,
        needs: &[need("redis-server", "redis-server"), need("redis-benchmark", "redis-tools")],
        prepare: "",
        script: r#"redis-server --port "$PORT" --bind 127.0.0.1 --save '' --appendonly no --dir "$DIR" >/dev/null &
            redis-benchmark -p "$PORT" -q -l -n 1000000 -P 4 -r 100000 -t set,get,incr,lpush,lrange_100,hset,zadd >/dev/null 2>&1"#,
    },
    Workload {
        name: "python3",
        what: "Debian's python3 running ci/bench/work.py",
        kind: Kind::Native,
        optional: false,
        process: None,
        needs: &[need("/usr/bin/python3", "python3")],
        prepare: "",
        script: r#"for cpu in $(seq "$CPUS"); do /usr/bin/python3 -S "$BENCH/work.py" & done; wait"#,
    },
    Workload {
        name: "node",
        what: "Node.js minifying TypeScript's compiler with terser",
        kind: Kind::Hard,
        optional: false,
        process: None,
        needs: &[need("node", "nodejs"), need("npm", "npm")],
        prepare: r#"test -d "$DIR/js/node_modules/terser" || npm --prefix "$DIR/js" install --no-audit --no-fund --no-save terser@5 typescript@5"#,
        script: r#"cd "$DIR/js/node_modules"
            for cpu in $(seq "$CPUS"); do
                while :; do node terser/bin/terser typescript/lib/typescript.js -c -m -o /dev/null; done &
            done; wait"#,
    },
    Workload {
        name: "gcc",
        what: "gcc -O2 on zstd's C files",
        kind: Kind::Native,
        optional: false,
        process: None,
        needs: &[need("gcc", "gcc")],
        prepare: "",
        script: r#"for cpu in $(seq "$CPUS"); do
                while :; do for file in zstd_lazy zstd_opt zstd_compress zstd_fast; do
                    gcc -O2 -c -o /dev/null "$ZSTD_SOURCE/lib/compress/$file.c"
                done; done &
            done; wait"#,
    },
    Workload {
        name: "ripgrep",
        what: "rg counting a regular expression in 1.3 GB of source code",
        kind: Kind::Native,
        optional: false,
        process: Some("rg"),
        needs: &[need("rg", "ripgrep")],
        prepare: CORPUS,
        script: r#"set --; for copy in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do set -- "$@" "$DIR/corpus"; done
            while :; do rg --threads "$CPUS" --no-config -c '\b[a-z]+(_[a-z0-9]+)+\s*\(.*[0-9a-f]{2,}' "$@" >/dev/null; done"#,
    },
    Workload {
        name: "zstd",
        what: "zstd -19 on 64 MB of source code",
        kind: Kind::Native,
        optional: false,
        process: None,
        needs: &[need("zstd", "zstd")],
        prepare: CORPUS,
        script: r#"for cpu in $(seq "$CPUS"); do while :; do zstd -19 -q -c "$DIR/corpus" >/dev/null; done & done; wait"#,
    },
    Workload {
        name: "nginx",
        what: "nginx under wrk",
        kind: Kind::Native,
        optional: false,
        process: None,
        needs: &[need("nginx", "nginx"), need("wrk", "wrk")],
        prepare: "",
        script: r#"mkdir -p "$DIR/nginx" && head -c 4000 /dev/zero >"$DIR/nginx/page" && chmod -R a+rX "$DIR/nginx"
            cat >"$DIR/nginx/conf" <<END
daemon off; user root; worker_processes $CPUS; error_log /dev/null; pid $DIR/nginx/pid;
events { worker_connections 512; }
http { access_log off; server { listen 127.0.0.1:$PORT; root $DIR/nginx; gzip off; } }
END
            nginx -p "$DIR/nginx" -e /dev/null -c "$DIR/nginx/conf" &
            sleep 0.3
            wrk -t 1 -c 64 -d 3600 "http://127.0.0.1:$PORT/page" >/dev/null"#,
    },
    Workload {
        name: "rustc",
        what: "rustc -O on regex-syntax",
        kind: Kind::Hard,
        optional: false,
        process: None,
        needs: &[need("rustc", "rustup")],
        prepare: "",
        script: r#"for cpu in $(seq "$CPUS"); do
                mkdir -p "$DIR/rustc-$cpu"
                while :; do rustc -O --edition 2021 --crate-type lib --cap-lints allow --cfg 'feature="std"' \
                    --cfg 'feature="unicode"' --out-dir "$DIR/rustc-$cpu" "$REGEX_SOURCE/src/lib.rs"; done &
            done; wait"#,
    },
    Workload {
        name: "short-lived",
        what: "processes that live 30 ms (testprogs/short_lived)",
        kind: Kind::Native,
        optional: false,
        process: Some("short_lived"),
        needs: &[],
        prepare: "",
        script: r#""$SHORT_LIVED" $((CPUS * 30)) 3600"#,
    },
    Workload {
        name: "sqlite",
        what: "sqlite3 sorting and joining in memory",
        kind: Kind::Native,
        optional: true,
        process: None,
        needs: &[need("sqlite3", "sqlite3")],
        prepare: "",
        script: r#"for cpu in $(seq "$CPUS"); do while :; do sqlite3 :memory: 'with recursive n(i) as (select 1 union all
                select i + 1 from n where i < 300000) select count(distinct hex(i * 7919 % 65537)), max(printf("%d", i)) from n;' >/dev/null
            done & done; wait"#,
    },
    Workload {
        name: "openssl",
        what: "openssl speed: hand-written assembler",
        kind: Kind::Native,
        optional: true,
        process: None,
        needs: &[need("openssl", "openssl")],
        prepare: "",
        script: r#"while :; do openssl speed -multi "$CPUS" -seconds 1 rsa2048 aes-256-gcm sha256 ecdhp256 >/dev/null 2>&1; done"#,
    },
    Workload {
        name: "java",
        what: "a Java program that sorts, hashes and builds strings (ci/bench/Work.java)",
        kind: Kind::Hard,
        optional: true,
        process: None,
        needs: &[need("javac", "default-jdk-headless")],
        prepare: r#"javac -d "$DIR" "$BENCH/Work.java""#,
        script: r#"for cpu in $(seq "$CPUS"); do java -XX:+UseSerialGC -cp "$DIR" Work & done; wait"#,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_scripts_are_valid_shell() {
        for (index, workload) in WORKLOADS.iter().enumerate() {
            assert!(WORKLOADS[..index].iter().all(|other| other.name != workload.name), "{}", workload.name);
            for script in [workload.prepare, workload.script] {
                let status = std::process::Command::new("sh").args(["-n", "-c", script]).status().unwrap();
                assert!(status.success(), "{}: {script}", workload.name);
            }
        }
    }
}
