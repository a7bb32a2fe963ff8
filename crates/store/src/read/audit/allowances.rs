//! How often each user has drawn, in all and on the last day, as kept and as
//! counted. One pass over the draws: sorting them by user in SQL takes five times
//! as long.
//!
//! A day's count may speak of more than the day's own draws, where the clock or the
//! zone went back over midnight, but never of fewer.

use super::Check;
use crate::sql::{self, Connection};
use std::collections::{BTreeMap, HashMap};

/// What is kept of a user, and what was counted.
struct User {
    kept: i64,
    kept_today: i64,
    day: i64,
    drawn: i64,
    drawn_today: i64,
}

/// By campaign and name.
type Users = BTreeMap<i64, HashMap<String, User>>;

pub(super) fn check(conn: &Connection) -> sql::Result<Check> {
    let mut users = kept(conn)?;
    count(conn, &mut users, &erasing(conn)?)?;
    let mut check = Check::new("I2_allowances");
    for (campaign, users) in &users {
        for (name, user) in users {
            if user.kept != user.drawn || user.kept_today < user.drawn_today {
                check.found(|| {
                    format!(
                        "user {name} in campaign {campaign}: kept {}, drawn {}, kept of day {} {}, drawn {}",
                        user.kept, user.drawn, user.day, user.kept_today, user.drawn_today
                    )
                });
            }
        }
    }
    Ok(check)
}

fn kept(conn: &Connection) -> sql::Result<Users> {
    let mut users = Users::new();
    let mut statement =
        conn.prepare_large("SELECT campaign_id, user, total, day, day_total FROM allowance")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let user = User {
            kept: row.get(2)?,
            day: row.get(3)?,
            kept_today: row.get(4)?,
            drawn: 0,
            drawn_today: 0,
        };
        // Of two rows of one user neither is right.
        let of_campaign = users.entry(row.get(0)?).or_default();
        let kept = of_campaign.entry(row.get(1)?);
        kept.and_modify(|it| it.kept += user.kept).or_insert(user);
    }
    Ok(users)
}

/// Users that are being erased, by the name that takes their place: their counters
/// still stand under the old one.
fn erasing(conn: &Connection) -> sql::Result<HashMap<String, String>> {
    conn.prepare_large("SELECT pseudonym, user FROM erasing")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn count(
    conn: &Connection,
    users: &mut Users,
    erasing: &HashMap<String, String>,
) -> sql::Result<()> {
    let mut statement = conn.prepare_large("SELECT campaign_id, user, day FROM draw")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (name, day) = (row.text(1)?, row.get::<_, i64>(2)?);
        let name = erasing.get(name).map_or(name, String::as_str);
        let of_campaign = users.entry(row.get(0)?).or_default();
        if let Some(user) = of_campaign.get_mut(name) {
            user.drawn += 1;
            user.drawn_today += i64::from(day == user.day);
        } else {
            let user = User {
                kept: 0,
                kept_today: 0,
                day,
                drawn: 1,
                drawn_today: 1,
            };
            of_campaign.insert(name.to_owned(), user);
        }
    }
    Ok(())
}
