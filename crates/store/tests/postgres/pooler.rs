//! A pooler in transaction mode, as small as it can be: all clients have one connection to
//! the server, each for as long as its transaction lasts.

use crate::proxy::{Far, Stream};
use crate::server::Database;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tombola_core::Timestamp;
use tombola_store::postgres::{ObstacleAt, Postgres, PostgresOptions, migrate, obstacle};

/// One message of the protocol: its letter, and its length with what follows.
async fn message(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(u8, Vec<u8>)> {
    let letter = from.read_u8().await?;
    Ok((letter, packet(from).await?))
}

/// The same without a letter, as the first of a connection is.
async fn packet(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut packet = length.to_be_bytes().to_vec();
    packet.resize(length as usize, 0);
    from.read_exact(&mut packet[4..]).await?;
    Ok(packet)
}

/// Serves one client, which thinks that the server trusts it.
async fn serve(mut client: TcpStream, server: Arc<Mutex<Box<dyn Stream>>>) -> std::io::Result<()> {
    packet(&mut client).await?;
    let trusted = *b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
    client.write_all(&trusted).await?;
    loop {
        let mut next = message(&mut client).await?;
        let mut server = server.lock().await;
        // Until a transaction has ended.
        while next.0 != b'X' {
            server.write_u8(next.0).await?;
            server.write_all(&next.1).await?;
            // Whoever asks or syncs is answered.
            if matches!(next.0, b'Q' | b'S') && answer(&mut server, &mut client).await? {
                break;
            }
            next = message(&mut client).await?;
        }
        if next.0 == b'X' {
            return Ok(());
        }
    }
}

/// Carries one answer; gives whether the transaction is over with it.
async fn answer(server: &mut Box<dyn Stream>, client: &mut TcpStream) -> std::io::Result<bool> {
    loop {
        let (letter, packet) = message(server).await?;
        client.write_u8(letter).await?;
        client.write_all(&packet).await?;
        if letter == b'Z' {
            return Ok(packet[4] == b'I');
        }
    }
}

/// The url of a pooler before that database.
#[expect(clippy::disallowed_methods, reason = "the test's runtime ends it")]
async fn pooler(database: &Database) -> PostgresOptions {
    let options = database.options();
    let mut server = Far::of(&options.config).connect().await;
    let (user, name) = (options.config.get_user(), options.config.get_dbname());
    let (user, name) = (user.unwrap(), name.unwrap());
    let mut hello = 196_608_u32.to_be_bytes().to_vec();
    hello.extend_from_slice(format!("user\0{user}\0database\0{name}\0\0").as_bytes());
    let length = u32::try_from(hello.len() + 4).unwrap();
    server.write_u32(length).await.unwrap();
    server.write_all(&hello).await.unwrap();
    while message(&mut server).await.unwrap().0 != b'Z' {}

    let server = Arc::new(Mutex::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client, Arc::clone(&server)));
        }
    });
    PostgresOptions::parse(&format!("postgres://{user}@127.0.0.1:{port}/{name}")).unwrap()
}

#[tokio::test]
async fn a_pooler_that_shares_connections_by_transaction_is_seen() {
    let Some(database) = Database::new().await else {
        return;
    };
    let options = database.options();
    migrate::up(&options).await.unwrap();
    let postgres = Postgres::open(&options).await.unwrap();
    let direct = postgres.facts(|| Timestamp(0)).await.unwrap();
    assert!(!direct.is_pooled);
    assert_eq!(obstacle(&options).await, None);

    let pooled = pooler(&database).await;
    let found = obstacle(&pooled).await.unwrap();
    assert_eq!(found.at, ObstacleAt::Pooler, "{found:?}");
}
