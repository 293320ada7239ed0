//! The gRPC server: every service on one port.

use metal9_proto::worker::worker_service_server::WorkerServiceServer;
use metal9_proto::{
    FILE_DESCRIPTOR_SET, beta9, endpoint_server, function_server, gateway_server, image_server,
    map_server, output_server, queue_server, secret_server, signal_server, taskqueue_server,
    volume_server, worker_server,
};
use metal9_tasks::CancellationToken;
use metal9_tls::Peer;
use tonic::service::Routes;

use super::endpoint_service::EndpointApi;
use super::function_service::FunctionApi;
use super::gateway_service::GatewayApi;
use super::image_service::ImageApi;
use super::map_service::MapApi;
use super::output_service::OutputApi;
use super::queue_service::QueueApi;
use super::secret_service::SecretApi;
use super::signal_service::SignalApi;
use super::taskqueue_service::TaskqueueApi;
use super::volume_service::VolumeApi;
use crate::auth::PEER_HEADER;
use crate::doors::{Door, GateLayer, grpc_server};
use crate::session::WorkerApi;
use crate::shared::SharedRef;
use crate::unimplemented::ExplainLayer;

/// Serves the client API and the worker protocol until `shutdown`.
///
/// # Errors
/// When the listener fails.
pub(crate) async fn serve(
    shared: SharedRef,
    door: Door,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter
        .set_serving::<beta9::gateway::gateway_service_server::GatewayServiceServer<GatewayApi>>()
        .await;
    health_reporter
        .set_serving::<beta9::function::function_service_server::FunctionServiceServer<FunctionApi>>()
        .await;
    health_reporter.set_serving::<WorkerServiceServer<WorkerApi>>().await;

    let mut routes = Routes::builder();
    routes.add_service(health);
    routes.add_service(gateway_server(GatewayApi::new(SharedRef::clone(&shared))));
    routes.add_service(function_server(FunctionApi::new(SharedRef::clone(&shared))));
    routes.add_service(endpoint_server(EndpointApi::new(SharedRef::clone(&shared))));
    routes.add_service(image_server(ImageApi::new(SharedRef::clone(&shared))));
    routes.add_service(secret_server(SecretApi::new(SharedRef::clone(&shared))));
    routes.add_service(taskqueue_server(TaskqueueApi::new(SharedRef::clone(&shared))));
    routes.add_service(map_server(MapApi::new(SharedRef::clone(&shared))));
    routes.add_service(output_server(OutputApi::new(SharedRef::clone(&shared))));
    routes.add_service(queue_server(QueueApi::new(SharedRef::clone(&shared))));
    routes.add_service(signal_server(SignalApi::new(SharedRef::clone(&shared))));
    routes.add_service(volume_server(VolumeApi::new(SharedRef::clone(&shared))));
    routes.add_service(worker_server(WorkerApi::new(SharedRef::clone(&shared))));
    match reflection() {
        Ok((v1, v1alpha)) => {
            routes.add_service(v1);
            routes.add_service(v1alpha);
        }
        Err(error) => tracing::error!(%error, "reflection is off"),
    }

    let incoming = Box::pin(futures::stream::unfold(door, |mut door| async move {
        let (connection, _) = door.accept().await;
        Some((Ok::<_, std::io::Error>(connection), door))
    }));
    grpc_server()
        .layer(ExplainLayer)
        .layer(tower::util::MapRequestLayer::new(write_peer))
        .layer(GateLayer::new(shared))
        .add_routes(routes.routes())
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned())
        .await
}

/// Writes the caller's address where services can read it, over whatever the caller wrote there.
fn write_peer<B>(mut request: http::Request<B>) -> http::Request<B> {
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.address);
    let address = peer.map(|peer| peer.ip().to_canonical().to_string()).unwrap_or_default();
    match http::HeaderValue::try_from(address) {
        Ok(value) => request.headers_mut().insert(PEER_HEADER, value),
        Err(_) => request.headers_mut().remove(PEER_HEADER),
    };
    request
}

type ReflectionError = tonic_reflection::server::Error;
use tonic_reflection::server::v1::ServerReflectionServer as V1;
use tonic_reflection::server::v1alpha::ServerReflectionServer as V1Alpha;

/// Both versions of reflection: tools ask for either.
fn reflection() -> Result<
    (
        V1<impl tonic_reflection::server::v1::ServerReflection>,
        V1Alpha<impl tonic_reflection::server::v1alpha::ServerReflection>,
    ),
    ReflectionError,
> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
    };
    Ok((builder().build_v1()?, builder().build_v1alpha()?))
}
