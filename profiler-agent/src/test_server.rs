//! A small server of HTTP for tests of those who ask, which sends what it is told to, be it HTTP or not.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// What was asked.
pub(crate) struct Request {
    /// With what follows a question mark.
    pub(crate) path: String,
    /// Its headers as they came.
    pub(crate) headers: String,
}

/// What is sent for a request; nothing: it is closed at once.
type Script = dyn Fn(&Request) -> Vec<u8> + Send + Sync;

/// A server on the loopback address, and how often it was asked.
pub(crate) struct Server {
    pub(crate) url: String,
    asked: Arc<AtomicUsize>,
}

impl Server {
    /// Starts it; it ends with the test's process.
    pub(crate) fn start(script: Box<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut first, mut headers) = (String::new(), String::new());
                reader.read_line(&mut first).unwrap();
                while reader.read_line(&mut headers).is_ok_and(|bytes| bytes > 2) {}
                count.fetch_add(1, Ordering::SeqCst);
                let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                // A client that has had enough closes.
                let _ = stream.write_all(&script(&Request { path, headers }));
            }
        });
        Self { url, asked }
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// An answer in due form.
pub(crate) fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}
