//! Claims about the three methods of the PostgreSQL spike (decision 0005), on a
//! cluster made from the installed programs. Where there are none, the tests say
//! so in one line and claim nothing.

mod cluster;
mod proxy;
mod world;

mod claims;
mod draws;
