//! Owns the way from a host's name to its addresses. Rule: nothing here waits for anybody.

use std::net::IpAddr;
use std::rc::Rc;

use super::response::Fault;
use crate::io::tasks::Reactor;

pub async fn look_up(_: &Rc<Reactor>, name: &str) -> Result<Vec<IpAddr>, Fault> {
    Err(format!("{name}: names are not looked up").into())
}
