//! What stands between a worker and its registry, and breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to a connection that has carried as many bytes as it may.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is closed.
    Cut,
    /// Nothing more comes.
    Stall,
}

pub(crate) struct Proxy {
    /// `127.0.0.1:port`.
    pub(crate) host: String,
    carried: Arc<AtomicU64>,
    faults: watch::Receiver<usize>,
}

impl Proxy {
    /// Passes everything on to `to`, but the first `times` connections that carry more than `bytes`
    /// end there.
    pub(crate) async fn start(to: &str, fault: Fault, times: usize, bytes: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let carried = Arc::new(AtomicU64::new(0));
        let left = Arc::new(AtomicUsize::new(times));
        let (told, faults) = watch::channel(0);
        let (to, counted) = (to.to_owned(), Arc::clone(&carried));
        let accept = async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&to).await.unwrap();
                let (counted, left, told) = (Arc::clone(&counted), Arc::clone(&left), told.clone());
                spawn(carry(client, server, fault, bytes, counted, left, told));
            }
        };
        spawn(accept);
        Self { host, carried, faults }
    }

    /// Bytes that came from the registry.
    pub(crate) fn carried(&self) -> u64 {
        self.carried.load(Ordering::SeqCst)
    }

    /// Waits until this many connections have ended too early.
    pub(crate) async fn faults(&mut self, count: usize) {
        self.faults.wait_for(|seen| *seen >= count).await.unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own tasks end with its runtime")]
fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}

async fn carry(
    client: TcpStream,
    server: TcpStream,
    fault: Fault,
    bytes: u64,
    counted: Arc<AtomicU64>,
    left: Arc<AtomicUsize>,
    told: watch::Sender<usize>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
    let down = async {
        let mut carried = 0;
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let count = from_server.read(&mut buffer).await?;
            if count == 0 {
                return to_client.shutdown().await;
            }
            carried += count as u64;
            let take = |left: usize| left.checked_sub(1);
            let order = Ordering::SeqCst;
            if carried > bytes && left.fetch_update(order, order, take).is_ok() {
                told.send_modify(|seen| *seen += 1);
                if fault == Fault::Stall {
                    std::future::pending::<()>().await;
                }
                return Ok(());
            }
            counted.fetch_add(count as u64, order);
            to_client.write_all(&buffer[..count]).await?;
        }
    };
    tokio::select! {
        _ = up => {}
        _ = down => {}
    }
}
