//! The client against a server of a few lines, whose every byte is written in the test.

use std::path::PathBuf;

use bytes::Bytes;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::{AttachOptions, Client, ClientError, LogOptions, Upload, WaitCondition};

/// A socket in a folder of its own; both go when it is dropped.
struct Socket {
    folder: tempfile::TempDir,
    listener: UnixListener,
}

impl Socket {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listener = UnixListener::bind(folder.path().join("api.sock")).expect("a socket");
        Self { folder, listener }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("api.sock")
    }

    async fn accept(&self) -> UnixStream {
        self.listener.accept().await.expect("a client").0
    }
}

/// Reads one request's head; the tests' requests that matter have no body or a chunked one.
async fn request_head(stream: &mut UnixStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a request"));
    }
    String::from_utf8(head).expect("a request in ASCII")
}

#[tokio::test]
async fn calls_one_after_the_other_share_a_connection() {
    let socket = Socket::new();
    let client = Client::new(socket.path());
    let server = async {
        let mut stream = socket.accept().await;
        for _ in 0..2 {
            request_head(&mut stream).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                .await
                .expect("the client reads");
        }
    };
    let calls = async { (client.info().await, client.version().await) };
    let ((), (info, version)) = tokio::join!(server, calls);
    assert_eq!(
        info.expect("an answer"),
        Value::Object(serde_json::Map::new())
    );
    assert_eq!(
        version.expect("an answer"),
        Value::Object(serde_json::Map::new())
    );
}

#[tokio::test]
async fn a_refusal_carries_the_daemons_words() {
    let socket = Socket::new();
    let client = Client::new(socket.path());
    let server = async {
        let mut stream = socket.accept().await;
        let head = request_head(&mut stream).await;
        let body = br#"{"message":"No such container: x"}"#;
        let answer = format!(
            "HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream
            .write_all(answer.as_bytes())
            .await
            .expect("the client reads");
        stream.write_all(body).await.expect("the client reads");
        head
    };
    let (head, answer) = tokio::join!(server, client.start_container("x"));
    assert!(
        head.starts_with("POST /v1.44/containers/x/start HTTP/1.1\r\n"),
        "{head}"
    );
    let error = answer.expect_err("a refusal");
    assert_eq!(error.status(), Some(404));
    assert_eq!(error.to_string(), "No such container: x");
}

#[tokio::test]
async fn attach_takes_over_the_connection_and_keeps_early_bytes() {
    let socket = Socket::new();
    let client = Client::new(socket.path());
    let server = async {
        let mut stream = socket.accept().await;
        let head = request_head(&mut stream).await;
        stream
            .write_all(
                b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly ",
            )
            .await
            .expect("the client reads");
        let mut input = String::new();
        stream
            .read_to_string(&mut input)
            .await
            .expect("input until its end");
        stream
            .write_all(input.as_bytes())
            .await
            .expect("the client still reads");
        head
    };
    let options = AttachOptions {
        stdin: true,
        stdout: true,
        stderr: true,
        ..AttachOptions::default()
    };
    let attached = async {
        let mut streams = client.attach("c", &options).await.expect("a stream");
        streams
            .writer
            .write_all(b"typed")
            .await
            .expect("the server reads");
        streams.writer.shutdown().await.expect("half a close");
        let mut output = Vec::new();
        let mut buffer = [0; 16];
        loop {
            let length = streams.reader.read(&mut buffer).await.expect("output");
            if length == 0 {
                break output;
            }
            output.extend_from_slice(&buffer[..length]);
        }
    };
    let (head, output) = tokio::join!(server, attached);
    assert!(head.contains("upgrade: tcp\r\n"), "{head}");
    assert_eq!(output, b"early typed");
}

#[tokio::test]
async fn attach_says_when_the_stream_was_not_opened() {
    let socket = Socket::new();
    let client = Client::new(socket.path());
    let server = async {
        let mut stream = socket.accept().await;
        request_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await
            .expect("the client reads");
    };
    let options = AttachOptions::default();
    let ((), answer) = tokio::join!(server, client.attach("c", &options));
    assert!(matches!(
        answer,
        Err(ClientError::NotUpgraded { status: 200, .. })
    ));
}

#[tokio::test]
async fn a_wait_is_registered_before_the_exit_is_known() {
    let socket = Socket::new();
    let client = Client::new(socket.path());
    let server = async {
        let mut stream = socket.accept().await;
        request_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .await
            .expect("the client reads");
        stream
    };
    let (mut stream, pending) = tokio::join!(server, client.wait_for("c", WaitCondition::NextExit));
    let pending = pending.expect("registered with the head alone");
    let answer = async {
        stream
            .write_all(b"10\r\n{\"StatusCode\":7}\r\n0\r\n\r\n")
            .await
            .expect("the client reads");
    };
    let ((), exit) = tokio::join!(answer, pending.exit());
    assert_eq!(exit.expect("an answer").expect("an exit").status_code, 7);
}

#[tokio::test]
async fn json_values_are_found_across_chunk_borders() {
    let socket = Socket::new();
    let client = Client::new(socket.path());
    let server = async {
        let mut stream = socket.accept().await;
        request_head(&mut stream).await;
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                  8\r\n{\"Action\r\n1c\r\n\":\"start\"}\r\n{\"Action\":\"die\"}\r\n0\r\n\r\n",
            )
            .await
            .expect("the client reads");
    };
    let events = async {
        let mut body = client.events(None, None, None).await.expect("a stream");
        let mut actions = Vec::new();
        while let Some(event) = body.next_json::<super::Event>().await.expect("an event") {
            actions.push(event.action);
        }
        actions
    };
    let ((), actions) = tokio::join!(server, events);
    assert_eq!(actions, ["start", "die"]);
}

#[tokio::test]
async fn an_upload_that_fails_half_way_is_not_taken_for_a_whole_one() {
    let socket = Socket::new();
    let client = Client::new(socket.path());
    let (pieces, upload) = Upload::channel();
    let server = async {
        let mut stream = socket.accept().await;
        let mut received = Vec::new();
        let _reset = stream.read_to_end(&mut received).await;
        received
    };
    let upload_call = async {
        pieces
            .send(Ok(Bytes::from_static(b"half")))
            .await
            .expect("queued");
        pieces
            .send(Err(std::io::Error::other("disk on fire")))
            .await
            .expect("queued");
        drop(pieces);
        client.load_images(upload, true).await.map(|_| ())
    };
    let (received, answer) = tokio::join!(server, upload_call);
    assert!(matches!(answer, Err(ClientError::Exchange { .. })));
    assert!(
        !received.ends_with(b"0\r\n\r\n"),
        "the body must not be closed properly"
    );
}

#[tokio::test]
async fn logs_ask_for_both_channels_and_arrive_in_chunks() {
    let socket = Socket::new();
    let client = Client::new(socket.path());
    let server = async {
        let mut stream = socket.accept().await;
        let head = request_head(&mut stream).await;
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            )
            .await
            .expect("the client reads");
        head
    };
    let options = LogOptions {
        follow: true,
        tail: "5".to_owned(),
        ..LogOptions::default()
    };
    let read = async {
        let mut body = client.logs("c", &options).await.expect("a stream");
        let first = body.next_chunk().await.expect("a chunk");
        (first, body.next_chunk().await.expect("an end"))
    };
    let (head, (first, end)) = tokio::join!(server, read);
    assert!(
        head.contains("/logs?stdout=1&stderr=1&follow=1&tail=5 "),
        "{head}"
    );
    assert_eq!(first.as_deref(), Some(&b"abc"[..]));
    assert_eq!(end, None);
}

#[tokio::test]
async fn a_missing_daemon_is_told_with_its_socket() {
    let client = Client::new("/nowhere/docker.sock");
    let error = client.info().await.expect_err("nobody listens");
    assert_eq!(
        error.to_string(),
        "failed to connect to /nowhere/docker.sock"
    );
}
