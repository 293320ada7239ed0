//! Message size limits, decided here for every client and server.

use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::{Body as HttpBody, Bytes, StdError};

use crate::beta9::endpoint::endpoint_service_client::EndpointServiceClient;
use crate::beta9::endpoint::endpoint_service_server::{EndpointService, EndpointServiceServer};
use crate::beta9::function::function_service_client::FunctionServiceClient;
use crate::beta9::function::function_service_server::{FunctionService, FunctionServiceServer};
use crate::beta9::gateway::gateway_service_client::GatewayServiceClient;
use crate::beta9::gateway::gateway_service_server::{GatewayService, GatewayServiceServer};
use crate::beta9::image::image_service_client::ImageServiceClient;
use crate::beta9::image::image_service_server::{ImageService, ImageServiceServer};
use crate::beta9::map::map_service_client::MapServiceClient;
use crate::beta9::map::map_service_server::{MapService, MapServiceServer};
use crate::beta9::output::output_service_client::OutputServiceClient;
use crate::beta9::output::output_service_server::{OutputService, OutputServiceServer};
use crate::beta9::secret::secret_service_client::SecretServiceClient;
use crate::beta9::secret::secret_service_server::{SecretService, SecretServiceServer};
use crate::beta9::signal::signal_service_client::SignalServiceClient;
use crate::beta9::signal::signal_service_server::{SignalService, SignalServiceServer};
use crate::beta9::simplequeue::simple_queue_service_client::SimpleQueueServiceClient;
use crate::beta9::simplequeue::simple_queue_service_server::{
    SimpleQueueService, SimpleQueueServiceServer,
};
use crate::beta9::taskqueue::task_queue_service_client::TaskQueueServiceClient;
use crate::beta9::taskqueue::task_queue_service_server::{
    TaskQueueService, TaskQueueServiceServer,
};
use crate::beta9::volume::volume_service_client::VolumeServiceClient;
use crate::beta9::volume::volume_service_server::{VolumeService, VolumeServiceServer};
use crate::worker::worker_service_client::WorkerServiceClient;
use crate::worker::worker_service_server::{WorkerService, WorkerServiceServer};

/// The largest message the SDK sends or accepts, in bytes: arguments, results and their envelope.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// The largest message that our own side accepts, in bytes.
///
/// A bit above [`MAX_MESSAGE_BYTES`], so that a message at the limit gets an answer that says so,
/// rather than a broken stream.
pub const MAX_FRAME_BYTES: usize = MAX_MESSAGE_BYTES + 64 * 1024;

macro_rules! limited {
    ($($client:ident -> $Client:ident, $server:ident -> $Server:ident<$Service:ident>;)*) => {$(
        #[doc = concat!("A [`", stringify!($Client), "`] with this crate's size limits.")]
        pub fn $client<T>(transport: T) -> $Client<T>
        where
            T: GrpcService<Body>,
            T::Error: Into<StdError>,
            T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
            <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
        {
            $Client::new(transport)
                .max_decoding_message_size(MAX_FRAME_BYTES)
                .max_encoding_message_size(MAX_FRAME_BYTES)
        }

        #[doc = concat!("A [`", stringify!($Server), "`] with this crate's size limits.")]
        pub fn $server<T: $Service>(service: T) -> $Server<T> {
            $Server::new(service)
                .max_decoding_message_size(MAX_FRAME_BYTES)
                .max_encoding_message_size(MAX_FRAME_BYTES)
        }
    )*};
}

limited! {
    endpoint_client -> EndpointServiceClient, endpoint_server -> EndpointServiceServer<EndpointService>;
    function_client -> FunctionServiceClient, function_server -> FunctionServiceServer<FunctionService>;
    gateway_client -> GatewayServiceClient, gateway_server -> GatewayServiceServer<GatewayService>;
    image_client -> ImageServiceClient, image_server -> ImageServiceServer<ImageService>;
    map_client -> MapServiceClient, map_server -> MapServiceServer<MapService>;
    output_client -> OutputServiceClient, output_server -> OutputServiceServer<OutputService>;
    queue_client -> SimpleQueueServiceClient, queue_server -> SimpleQueueServiceServer<SimpleQueueService>;
    secret_client -> SecretServiceClient, secret_server -> SecretServiceServer<SecretService>;
    taskqueue_client -> TaskQueueServiceClient, taskqueue_server -> TaskQueueServiceServer<TaskQueueService>;
    signal_client -> SignalServiceClient, signal_server -> SignalServiceServer<SignalService>;
    volume_client -> VolumeServiceClient, volume_server -> VolumeServiceServer<VolumeService>;
    worker_client -> WorkerServiceClient, worker_server -> WorkerServiceServer<WorkerService>;
}
