//! Stands in for [`crate::tls`](super::secure) in builds without it. Rule: none of these can exist, so nothing of the rest
//! needs to know.

use std::sync::Arc;

#[derive(Debug)]
pub enum Certificates {}

#[derive(Debug)]
pub enum Session {}

#[derive(Debug)]
#[allow(dead_code)]
pub enum Progress {
    Going,
    Established,
    Closed,
    Plain,
}

impl Session {
    pub fn new(certificates: Arc<Certificates>) -> Session {
        match *certificates {}
    }

    pub fn kept(&self) -> usize {
        match *self {}
    }

    pub fn is_handshaking(&self) -> bool {
        match *self {}
    }

    pub fn ends_with_tickets(&self) -> bool {
        match *self {}
    }

    pub fn receive(&mut self, _: &mut [u8], _: &mut Vec<u8>, _: &mut dyn FnMut(&[u8])) -> Result<Progress, ()> {
        match *self {}
    }

    pub fn encrypt(&mut self, _: &[u8], _: &mut Vec<u8>) -> Result<(), ()> {
        match *self {}
    }

    pub fn close(&mut self, _: &mut Vec<u8>) {
        match *self {}
    }

    pub fn server_name(&self) -> Option<&str> {
        match *self {}
    }

    pub fn version_and_suite(&self) -> Option<String> {
        match *self {}
    }

    pub fn alpn(&self) -> Option<&[u8]> {
        match *self {}
    }

    pub fn client_certificate(&self) -> Option<&[u8]> {
        match *self {}
    }
}
