//! What the worker says during a session.

use futures::{Stream, StreamExt};
use metal9_proto::worker as wire;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::convert;
use crate::report::Report;

/// The hello, then the reports; ends when their sender is dropped.
pub(crate) fn messages(
    hello: wire::WorkerMessage,
    reports: mpsc::Receiver<Report>,
) -> impl Stream<Item = wire::WorkerMessage> + Send + 'static {
    let hello = futures::stream::once(std::future::ready(hello));
    hello.chain(ReceiverStream::new(reports).map(convert::report))
}
