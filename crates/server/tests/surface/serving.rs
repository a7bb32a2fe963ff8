//! A running server: its socket, its lock, its first key, its stop.

use crate::world::{Desk, said, until};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;

#[test]
fn commands_go_over_the_socket_while_the_server_runs_and_in_process_when_not() {
    let desk = Desk::new();
    let server = desk.serve();
    let mode = std::fs::metadata(desk.data().join("tombola.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let applied = desk
        .ok(&["campaign", "apply", "fair.toml", "--start", "--json"])
        .json();
    assert_eq!(applied["campaigns"][0]["state"], "started");
    assert_eq!(applied["campaigns"][0]["imports"][0]["imported"], 3);
    let over_socket = desk.ok(&[
        "draw",
        "fair",
        "--user",
        "u1",
        "--key",
        "request-1",
        "--json",
    ]);
    let log = desk.ok(&["log", "--json"]).json_lines();
    assert!(log.iter().all(|line| line["by"] == "local"), "{log:?}");
    let stopped = server.stop();
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert!(stopped.stderr.contains("stopping"), "{stopped:?}");
    assert!(!desk.data().join("tombola.sock").exists());
    let in_process = desk.ok(&[
        "draw",
        "fair",
        "--user",
        "u1",
        "--key",
        "request-1",
        "--json",
    ]);
    assert_eq!(
        over_socket.stdout, in_process.stdout,
        "one handler, one answer"
    );
}

#[test]
fn second_server_of_one_directory_does_not_start() {
    let desk = Desk::new();
    let server = desk.serve();
    let second = desk.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.code, Some(1));
    assert!(
        second
            .stderr
            .contains("another process has ./tombola-data open"),
        "{second:?}"
    );
    drop(server);
    // Killed: the lock is free, and the socket that was left is replaced.
    let third = desk.serve();
    desk.ok(&["campaign", "list"]);
    assert_eq!(third.stop().code, Some(0));
}

#[test]
fn first_key_is_written_for_its_owner_and_is_good_from_afar() {
    let desk = Desk::new();
    let server = desk.serve();
    let path = desk.data().join("admin.key");
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let url = format!("http://{}", server.address);
    let file = path.to_str().unwrap();
    let listed = desk
        .ok(&[
            "--server",
            &url,
            "--api-key-file",
            file,
            "key",
            "list",
            "--json",
        ])
        .json();
    assert_eq!(
        (&listed["client"], &listed["role"]),
        (&json!("admin"), &json!("admin"))
    );
    let without = desk.run(&["--server", &url, "key", "list"]);
    assert_eq!(without.code, Some(1));
    assert_eq!(without.stderr, "error: A key is needed (unauthorized)\n");
    let key = std::fs::read_to_string(&path).unwrap();
    let stopped = server.stop();
    assert!(
        !stopped.stderr.contains(key.trim()),
        "the key itself is never printed"
    );
}

#[test]
fn bootstrap_key_is_taken_from_the_environment() {
    let desk = Desk::new();
    let given = "tmb_0123456789abcdef0123456789abcdef0123";
    let mut command = desk.command(&["serve", "--listen", "no-address"]);
    command.env("TOMBOLA_BOOTSTRAP_KEY", given);
    assert_eq!(
        said(command).code,
        Some(2),
        "the address is checked before anything is made"
    );
    assert!(!desk.data().exists());
    std::fs::write(desk.path("bootstrap"), format!("{given}\n")).unwrap();
    let mut command = desk.command(&["key", "list"]);
    command.env("TOMBOLA_BOOTSTRAP_KEY_FILE", desk.path("bootstrap"));
    assert_eq!(
        said(command).code,
        Some(1),
        "only serve makes keys by itself"
    );
}

#[test]
fn commands_of_a_directory_that_is_not_there_say_so_and_make_nothing() {
    let desk = Desk::new();
    for command in [
        &["audit"][..],
        &["award", "list"],
        &["draw", "fair", "--user", "u1"],
    ] {
        let refused = desk.run(command);
        assert_eq!(
            (refused.code, refused.stdout.as_str()),
            (Some(1), ""),
            "{refused:?}"
        );
        assert!(
            refused
                .stderr
                .starts_with("error: there is no database at ./tombola-data/tombola.db"),
            "{refused:?}"
        );
    }
    assert!(!desk.data().exists());
    let afar = desk.run(&["--server", "http://127.0.0.1:1", "campaign", "list"]);
    assert_eq!(afar.code, Some(1));
    assert!(
        afar.stderr
            .starts_with("error: the server cannot be reached: 127.0.0.1:1"),
        "{afar:?}"
    );
}

#[test]
fn bootstrap_key_is_the_first_admin_key_and_no_file_is_written() {
    let desk = Desk::new();
    let given = "tmb_0123456789abcdef0123456789abcdef0123";
    let server = desk.serve_with(&[("TOMBOLA_BOOTSTRAP_KEY", given)]);
    assert!(!desk.data().join("admin.key").exists());
    let url = format!("http://{}", server.address);
    let mut command = desk.command(&["--server", &url, "key", "list", "--json"]);
    command.env("TOMBOLA_API_KEY", given);
    assert_eq!(said(command).json()["role"], "admin");
}

#[test]
fn no_secret_code_or_address_is_ever_logged() {
    let desk = Desk::new();
    let server = desk.serve_with(&[("TOMBOLA_LOG__FILTER", "trace")]);
    desk.ok(&["campaign", "apply", "fair.toml", "--start"]);
    let key = desk.ok(&["key", "create", "--role", "client"]).stdout;
    let url = format!("http://{}", server.address);
    let mut tokens = Vec::new();
    for n in 0..8 {
        let user = format!("u{n}");
        let mut command = desk.command(&[
            "--server", &url, "draw", "fair", "--user", &user, "--count", "5", "--json",
        ]);
        command.env("TOMBOLA_API_KEY", key.trim());
        for draw in said(command).json()["draws"].as_array().unwrap() {
            tokens.extend(draw["award"]["claim_token"].as_str().map(str::to_owned));
            if draw["prize"] == "mug" {
                let id = draw["id"].to_string();
                desk.ok(&[
                    "award",
                    "address",
                    &id,
                    "--name",
                    "Ann Secretive",
                    "--line",
                    "Hidden lane 7",
                    "--city",
                    "Bergen",
                    "--country",
                    "NO",
                ]);
            }
        }
    }
    until("codes are delivered", || {
        desk.ok(&["code", "stats", "fair", "--json"]).json()["given"].as_u64() == Some(3)
    });
    let stopped = server.stop();
    let logged = stopped.stderr;
    let is_detailed = logged.contains("DEBUG") && logged.contains("/v1/campaigns/{campaign}/draws");
    assert!(is_detailed, "the log holds everything:\n{logged}");
    let admin = std::fs::read_to_string(desk.data().join("admin.key")).unwrap();
    let secret = std::fs::read_to_string(desk.data().join("secret.key")).unwrap();
    let hidden = [
        "SECRET-",
        "Ann Secretive",
        "Hidden lane",
        key.trim(),
        admin.trim(),
        secret[2..].trim(),
    ];
    for word in hidden.into_iter().chain(tokens.iter().map(String::as_str)) {
        let line = logged.lines().find(|line| line.contains(word));
        assert_eq!(line, None, "{word}");
    }
}

#[test]
fn draw_without_an_answer_says_the_key_to_send_it_again_with() {
    let desk = Desk::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // Takes the request and hangs up without a word.
    let hangs_up = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let read = std::io::Read::read(&mut stream, &mut [0; 4096]).unwrap();
        assert!(read > 0);
    });
    let lost = desk.run(&["--server", &url, "draw", "fair", "--user", "u1"]);
    hangs_up.join().unwrap();
    assert_eq!((lost.code, lost.stdout.as_str()), (Some(1), ""));
    assert!(
        lost.stderr
            .starts_with("no answer; send the same again with --key cli-"),
        "{lost:?}"
    );
    let given = desk.run(&[
        "--server",
        "http://127.0.0.1:1",
        "draw",
        "fair",
        "--user",
        "u1",
        "--key",
        "my-own-key",
    ]);
    assert!(
        given
            .stderr
            .starts_with("no answer; send the same again with --key my-own-key\n"),
        "{given:?}"
    );
}

#[test]
fn second_signal_stops_at_once_and_the_next_start_goes_on() {
    let desk = Desk::new();
    let server = desk.serve();
    desk.ok(&["campaign", "apply", "fair.toml"]);
    let key = std::fs::read_to_string(desk.data().join("admin.key")).unwrap();
    let mut stream = std::net::TcpStream::connect(&server.address).unwrap();
    // A request that never ends: its body does not come.
    let head = format!(
        "POST /v1/campaigns/fair/prizes/coffee/codes HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: text/csv\r\nidempotency-key: request-1\r\ncontent-length: 100000\r\n\r\nCUT-1\n",
        key.trim()
    );
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    let imports = || desk.ok(&["code", "stats", "fair", "--json"]).json()["imports"].clone();
    until("the request is under way", || imports() != json!([]));
    server.signal("-TERM");
    until("the first signal was heard", || {
        server.log().contains("stopping")
    });
    let stopped = server.stop();
    assert_eq!(stopped.code, Some(1), "{stopped:?}");
    assert!(stopped.stderr.contains("stopped at once"), "{stopped:?}");
    drop(stream);
    let server = desk.serve();
    until("what was left is removed", || imports() == json!([]));
    assert_eq!(server.stop().code, Some(0));
}
