//! Real servers and clients, on this machine.

#[cfg(test)]
mod handshake;
