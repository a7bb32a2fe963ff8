//! The rivals of the desk on one hot prize: the transaction that everybody writes
//! first, statement by statement, and the same in one round trip. Each draw is a
//! transaction of its own, on one of the connections of a pool, with statements
//! prepared once.

use crate::desk::{key_of, user_of};
use crate::postgres::Database;
use anyhow::{Context as _, Result};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use tokio_postgres::{Client, Statement};

/// What such a system has: stock, how often a user drew, draws, and messages to be sent.
const SCHEMA: &str = "
  CREATE TABLE prize (id bigint PRIMARY KEY, stock bigint NOT NULL CHECK (stock >= 0));
  INSERT INTO prize VALUES (1, 1000000000);
  CREATE TABLE allowance (user_id text PRIMARY KEY, total bigint NOT NULL);
  CREATE TABLE draw (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, request_key text NOT NULL UNIQUE,
    user_id text NOT NULL, prize_id bigint, drawn_at timestamptz NOT NULL DEFAULT now());
  CREATE TABLE message (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, draw_id bigint NOT NULL,
    state text NOT NULL, created_at timestamptz NOT NULL DEFAULT now());";

const LOCK: &str = "SELECT stock FROM prize WHERE id = 1 FOR UPDATE";
const TAKE: &str = "UPDATE prize SET stock = stock - 1 WHERE id = 1";
const COUNT: &str = "INSERT INTO allowance AS a VALUES ($1, 1)
  ON CONFLICT (user_id) DO UPDATE SET total = a.total + 1";
const DRAW: &str =
    "INSERT INTO draw (request_key, user_id, prize_id) VALUES ($1, $2, 1) RETURNING id";
const MESSAGE: &str = "INSERT INTO message (draw_id, state) VALUES ($1, 'create')";

/// The stock comes last, so that its row is locked for as short as one statement can.
const AT_ONCE: &str = "
  WITH counted AS (
    INSERT INTO allowance AS a VALUES ($2, 1)
    ON CONFLICT (user_id) DO UPDATE SET total = a.total + 1 RETURNING user_id),
  taken AS (
    UPDATE prize SET stock = stock - 1 WHERE id = 1 AND stock > 0
      AND EXISTS (SELECT FROM counted) RETURNING id),
  drawn AS (
    INSERT INTO draw (request_key, user_id, prize_id) SELECT $1, $2, id FROM taken RETURNING id)
  INSERT INTO message (draw_id, state) SELECT id, 'create' FROM drawn";

/// How a draw is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Begin, lock the stock, take one, count, insert the draw, insert its message,
    /// commit. Begin goes with the first statement, as drivers have it.
    OneByOne,
    /// All in one statement.
    AtOnce,
}

impl Way {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::OneByOne => "naive transaction",
            Self::AtOnce => "one round trip",
        }
    }
}

/// Makes its tables.
pub(crate) async fn fill(database: &Database) -> Result<()> {
    Ok(database.connect().await?.batch_execute(SCHEMA).await?)
}

/// So many connections.
pub(crate) struct Pool {
    idle: Mutex<Vec<Connection>>,
    places: Semaphore,
}

struct Connection {
    client: Client,
    lock: Statement,
    take: Statement,
    count: Statement,
    draw: Statement,
    message: Statement,
    at_once: Statement,
}

impl Pool {
    pub(crate) async fn open(database: &Database, connections: usize) -> Result<Arc<Self>> {
        let mut idle = Vec::new();
        for _ in 0..connections {
            idle.push(Connection::prepare(database.connect().await?).await?);
        }
        Ok(Arc::new(Self {
            idle: Mutex::new(idle),
            places: Semaphore::new(connections),
        }))
    }

    /// One draw.
    pub(crate) async fn draw(&self, way: Way, number: u64) -> Result<()> {
        let _place = self.places.acquire().await?;
        let taken = self.idle().pop();
        let connection = taken.context("a connection for each place")?;
        let (user, key) = (user_of(number), key_of(number));
        let drawn = match way {
            Way::OneByOne => connection.one_by_one(&user, &key).await,
            Way::AtOnce => connection.at_once(&user, &key).await,
        };
        self.idle().push(connection);
        drawn
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    async fn prepare(client: Client) -> Result<Self> {
        Ok(Self {
            lock: client.prepare(LOCK).await?,
            take: client.prepare(TAKE).await?,
            count: client.prepare(COUNT).await?,
            draw: client.prepare(DRAW).await?,
            message: client.prepare(MESSAGE).await?,
            at_once: client.prepare(AT_ONCE).await?,
            client,
        })
    }

    async fn one_by_one(&self, user: &str, key: &str) -> Result<()> {
        let client = &self.client;
        let ((), stock) = tokio::try_join!(
            client.batch_execute("BEGIN"),
            client.query_one(&self.lock, &[])
        )?;
        anyhow::ensure!(stock.get::<_, i64>(0) > 0, "the stock is used up");
        client.execute(&self.take, &[]).await?;
        client.execute(&self.count, &[&user]).await?;
        let draw = client.query_one(&self.draw, &[&key, &user]).await?;
        let draw: i64 = draw.get(0);
        client.execute(&self.message, &[&draw]).await?;
        client.batch_execute("COMMIT").await?;
        Ok(())
    }

    async fn at_once(&self, user: &str, key: &str) -> Result<()> {
        let messages = self.client.execute(&self.at_once, &[&key, &user]).await?;
        anyhow::ensure!(messages == 1, "{messages} messages of one draw");
        Ok(())
    }
}
