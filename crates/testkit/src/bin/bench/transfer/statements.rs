//! The same rows of `draw` by COPY and by `unnest`, by how many go in one statement.

use crate::postgres::Server;
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Statement};
use tombola_store::transfer::CHUNK_ROWS_MAX;

/// Rows in a statement: of a turn of four desks, of a page of rescue, of a step of an import, of
/// a chunk of the transfer.
const SIZES: [usize; 4] = [40, 500, 1000, CHUNK_ROWS_MAX];
/// Rows of each size in a round.
const ROWS: usize = 100_000;
const ROUNDS: usize = 5;

const COPY: &str =
    "COPY draw (id, campaign_id, version, user_id, client, prize_id, roll, drawn_at, day,
  claim_key) FROM STDIN (FORMAT binary)";
const UNNEST: &str = "INSERT INTO draw (id, campaign_id, version, user_id, client, prize_id, roll,
    drawn_at, day, claim_key)
  SELECT unnest($1::bigint[]), unnest($2::bigint[]), unnest($3::integer[]), unnest($4::text[]),
    unnest($5::text[]), unnest($6::bigint[]), unnest($7::bigint[]), unnest($8::bigint[]),
    unnest($9::integer[]), unnest($10::integer[])";
const TYPES: [Type; 10] = [
    Type::INT8,
    Type::INT8,
    Type::INT4,
    Type::TEXT,
    Type::TEXT,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT4,
    Type::INT4,
];

/// Both at one size, in rows a second.
pub(super) struct Pair {
    rows: usize,
    copy: f64,
    unnest: f64,
}

impl Pair {
    fn times(&self) -> f64 {
        self.copy / self.unnest
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "rows": self.rows, "copy_rows_per_second": self.copy.round(),
            "unnest_rows_per_second": self.unnest.round(),
        })
    }
}

/// One row.
struct Draw {
    id: i64,
    user: String,
    prize: Option<i64>,
    roll: i64,
}

/// Medians of rounds in which both insert the same rows into a table that begins empty. Commits do
/// not wait for the disk, which takes the same time for both.
pub(super) async fn measure(server: &Server) -> Result<Vec<Pair>> {
    let database = server.database("statements").await?;
    crate::desk::prepare(&database, crate::desk::PRIZES).await?;
    let client = database.connect().await?;
    client
        .batch_execute("SET synchronous_commit = off; SET jit = off")
        .await?;
    let unnest = client.prepare(UNNEST).await?;
    let draws: Vec<Draw> = (1..=ROWS).map(draw).collect::<Result<_>>()?;
    let mut pairs = Vec::new();
    for rows in SIZES {
        let (mut by_copy, mut by_unnest) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            by_copy.push(insert(&client, None, &draws, rows).await?);
            by_unnest.push(insert(&client, Some(&unnest), &draws, rows).await?);
        }
        let pair = Pair {
            rows,
            copy: rate(by_copy),
            unnest: rate(by_unnest),
        };
        println!(
            "{rows:>5} rows in a statement: COPY {:>7.0} rows/s, unnest {:>7.0} rows/s: {:.2} times",
            pair.copy,
            pair.unnest,
            pair.times()
        );
        pairs.push(pair);
    }
    drop(client);
    database.drop().await?;
    Ok(pairs)
}

/// Each is used where it is the quicker one: COPY for the transfer's chunks, `unnest` for turns.
pub(super) fn check_floors(pairs: &[Pair]) -> Result<()> {
    for pair in pairs {
        let (rows, times) = (pair.rows, pair.times());
        ensure!(
            rows != CHUNK_ROWS_MAX || times >= 1.0,
            "COPY is slower than unnest for chunks of the transfer: {times:.2} times"
        );
        ensure!(
            rows != SIZES[0] || times <= 1.0,
            "unnest is slower than COPY for a turn: COPY is {times:.2} times as quick"
        );
    }
    Ok(())
}

fn draw(number: usize) -> Result<Draw> {
    let id = i64::try_from(number)?;
    let has_won = number % 10 < 3;
    Ok(Draw {
        id,
        user: crate::desk::user_of(number as u64),
        prize: has_won.then_some(id % 5 + 1),
        roll: id.wrapping_mul(0x2545_F491_4F6C_DD1D),
    })
}

fn rate(mut took: Vec<Duration>) -> f64 {
    took.sort_unstable();
    f64::from(u32::try_from(ROWS).unwrap_or(u32::MAX)) / took[took.len() / 2].as_secs_f64()
}

async fn insert(
    client: &Client,
    unnest: Option<&Statement>,
    draws: &[Draw],
    rows: usize,
) -> Result<Duration> {
    client.batch_execute("TRUNCATE draw; CHECKPOINT").await?;
    let begun = Instant::now();
    for chunk in draws.chunks(rows) {
        match unnest {
            Some(statement) => by_unnest(client, statement, chunk).await?,
            None => by_copy(client, chunk).await?,
        }
    }
    Ok(begun.elapsed())
}

async fn by_copy(client: &Client, draws: &[Draw]) -> Result<()> {
    let sink = client.copy_in(COPY).await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &TYPES));
    for it in draws {
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 10] = [
            &it.id,
            &1_i64,
            &1_i32,
            &it.user,
            &"bench",
            &it.prize,
            &it.roll,
            &it.id,
            &20_000_i32,
            &1_i32,
        ];
        writer.as_mut().write(&row).await?;
    }
    writer.finish().await?;
    Ok(())
}

async fn by_unnest(client: &Client, statement: &Statement, draws: &[Draw]) -> Result<()> {
    let ids: Vec<i64> = draws.iter().map(|it| it.id).collect();
    let users: Vec<&str> = draws.iter().map(|it| &*it.user).collect();
    let prizes: Vec<Option<i64>> = draws.iter().map(|it| it.prize).collect();
    let rolls: Vec<i64> = draws.iter().map(|it| it.roll).collect();
    let (ones, versions) = (vec![1_i64; draws.len()], vec![1_i32; draws.len()]);
    let (clients, days) = (vec!["bench"; draws.len()], vec![20_000_i32; draws.len()]);
    client
        .execute(
            statement,
            &[
                &ids, &ones, &versions, &users, &clients, &prizes, &rolls, &ids, &days, &versions,
            ],
        )
        .await?;
    Ok(())
}
