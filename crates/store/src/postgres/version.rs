//! Which servers are old enough to be refused: what is promised is tried on the versions from
//! [`VERSION_MIN`] on (`cargo xtask test --only versions`), and on no older one.

use super::error::get;
use super::session::{Deadline, Opener};
use tokio::sync::oneshot;
use tokio_postgres::Client;
use tombola_core::ports::{StoreError, StoreResult};

/// The oldest version of the server, in its own numbers.
pub const VERSION_MIN: i64 = 140_000;

/// A connection to a server that is not too old.
pub(super) async fn connect(opener: &Opener) -> StoreResult<(Client, oneshot::Sender<()>)> {
    let (client, alive) = opener.connect().await?;
    let (number, version) = of(&client, &opener.deadline).await?;
    check(number, &version)?;
    Ok((client, alive))
}

async fn of(client: &Client, deadline: &Deadline) -> StoreResult<(i64, String)> {
    let sql =
        "SELECT current_setting('server_version_num')::bigint, current_setting('server_version')";
    let row = deadline.within(client.query_one(sql, &[])).await?;
    Ok((get(&row, 0)?, get(&row, 1)?))
}

fn check(number: i64, version: &str) -> StoreResult<()> {
    if number >= VERSION_MIN {
        return Ok(());
    }
    let oldest = VERSION_MIN / 10_000;
    Err(StoreError::Schema(format!(
        "it needs PostgreSQL {oldest} or newer, and the server is {version}: use a newer server"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_too_old_is_refused_by_its_version() {
        assert!(check(140_000, "14.0").is_ok());
        assert!(check(180_006, "18.6").is_ok());
        let refused = check(130_023, "13.23 (Debian 13.23-1)").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the schema does not fit: it needs PostgreSQL 14 or newer, and the server is 13.23 (Debian \
             13.23-1): use a newer server"
        );
    }
}
