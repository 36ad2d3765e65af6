//! A server of files that speaks TLS.

use std::{fs, net::TcpListener, path::Path, process::Command};

use crate::vesta::Background;

/// The server, and the certificate that it made itself. It ends with this.
pub(crate) struct TlsServer {
    pub(crate) url: String,
    pub(crate) certificate: String,
    _process: Background,
}

/// Files of the working directory, to those who show the token if there is one. Arguments: port, certificate, key, token.
const SERVER: &str = "
import http.server, ssl, sys
port, certificate, key, token = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]

class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if token and self.headers.get('Authorization') != 'Bearer ' + token:
            self.send_error(401)
        else:
            super().do_GET()

server = http.server.ThreadingHTTPServer(('127.0.0.1', port), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
";

/// One for what lies in a folder; its own files lie there, too.
pub(crate) fn serve(folder: &Path, token: Option<&str>) -> TlsServer {
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let [certificate, key] = [certificate, key].map(|path| path.to_str().unwrap().to_owned());
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=vesta test", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", &key, "-out", &certificate])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = folder.join("server.py");
    fs::write(&server, SERVER).unwrap();
    let script = format!(
        "cd '{}' && exec python3 server.py {port} '{certificate}' '{key}' '{}' 2>/dev/null",
        folder.display(),
        token.unwrap_or_default()
    );
    let process = Background::start("sh", &["-c", &script]);
    TlsServer { url: format!("https://127.0.0.1:{port}"), certificate, _process: process }
}
