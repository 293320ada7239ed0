//! What every part of the gateway can reach.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use metal9_store::Store;
use metal9_tasks::CancellationToken;
use metal9_tls::Certificates;

use crate::admission::Admission;
use crate::arguments::ArgumentCache;
use crate::builds::Builds;
use crate::disk::Disk;
use crate::driver::DriverHandle;
use crate::endpoints::Endpoints;
use crate::ends::Ends;
use crate::fleet::Fleet;
use crate::floors::Floors;
use crate::hub::Hub;
use crate::intruders::{Intruders, JoinLimit};
use crate::job_token::Signer;
use crate::macs::Impossible;
use crate::options::Options;
use crate::rates::Rates;
use crate::revocations::Revocations;
use crate::scales::Scales;
use crate::serves::Serves;
use crate::signals::Signals;
use crate::uploads::Uploads;
use crate::volumes::Volumes;

/// What every part of the gateway can reach; always behind an [`Arc`].
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) store: Store,
    pub(crate) driver: DriverHandle,
    pub(crate) hub: Hub,
    pub(crate) fleet: Fleet,
    pub(crate) ends: Ends,
    pub(crate) endpoints: Endpoints,
    pub(crate) floors: Floors,
    pub(crate) builds: Builds,
    pub(crate) impossible: Impossible,
    pub(crate) arguments: ArgumentCache,
    pub(crate) admission: Admission,
    pub(crate) rates: Rates,
    pub(crate) disk: Disk,
    pub(crate) signer: Signer,
    pub(crate) revocations: Revocations,
    pub(crate) signals: Signals,
    pub(crate) volumes: Volumes,
    pub(crate) uploads: Uploads,
    pub(crate) intruders: Intruders,
    pub(crate) joins: JoinLimit,
    pub(crate) scales: Scales,
    pub(crate) serves: Serves,
    pub(crate) grpc_addr: SocketAddr,
    pub(crate) http_addr: SocketAddr,
    /// What both ports show; nothing if they speak plain text.
    pub(crate) certificates: Option<Certificates>,
    pub(crate) started: Instant,
    /// Cancelled when the gateway stops.
    pub(crate) shutdown: CancellationToken,
}

/// A handle to [`Shared`].
pub(crate) type SharedRef = Arc<Shared>;

impl Shared {
    /// The host that others are told to reach this gateway at. An address that means "all
    /// interfaces" is of no use to them, so it becomes the loopback address.
    pub(crate) fn advertised_host(&self) -> String {
        match &self.options.advertise_host {
            Some(host) => host.clone(),
            None if self.grpc_addr.ip().is_unspecified() => "127.0.0.1".to_owned(),
            None => self.grpc_addr.ip().to_string(),
        }
    }

    /// Where HTTP is served, as others reach it; without a slash at the end.
    pub(crate) fn http_url(&self) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.authority(self.http_addr.port()))
    }

    /// Where gRPC is served, as others reach it: host and port.
    pub(crate) fn grpc_authority(&self) -> String {
        self.authority(self.grpc_addr.port())
    }

    fn authority(&self, port: u16) -> String {
        let host = self.advertised_host();
        // Numbers with colons stand in brackets.
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        format!("{host}:{port}")
    }
}
