//! Calls into Metal, by the runtime of Objective-C.
//!
//! Both are loaded when they are asked for, and linked with nothing: this program is also the daemon
//! and the supervisor of every job, which shall have neither. Nothing is released, since the process
//! ends when all is said.

#![expect(unsafe_code, reason = "C interfaces")]

use std::ffi::{c_char, c_void};
use std::mem::transmute;
use std::ptr::{self, NonNull};

use libloading::Library;
use objc2_core_foundation::CFString;

/// Both are in the cache of the system's libraries, and have no files of their own.
const METAL: &str = "/System/Library/Frameworks/Metal.framework/Metal";
const RUNTIME: &str = "/usr/lib/libobjc.A.dylib";

/// `MTLCommandBufferStatusCompleted`.
const COMPLETED: usize = 4;

/// An object of Objective-C, or null.
type Id = *mut c_void;
/// The name of a method, as the runtime knows it.
type Selector = *const c_void;

/// Metal, loaded.
pub(super) struct Metal {
    copy_all_devices: unsafe extern "C" fn() -> Id,
    selector: unsafe extern "C" fn(*const c_char) -> Selector,
    /// `objc_msgSend`, which takes the form of the method that it is to call.
    send: unsafe extern "C" fn(),
    /// Where the functions are.
    _libraries: [Library; 2],
}

/// An object of Metal's.
#[derive(Clone, Copy)]
pub(super) struct Object<'metal> {
    metal: &'metal Metal,
    id: NonNull<c_void>,
}

/// `MTLSize`.
#[repr(C)]
struct Size {
    width: usize,
    height: usize,
    depth: usize,
}

/// Calls a method: its name, its arguments with their types, and what it gives.
macro_rules! send {
    ($object:expr, $name:literal $(, $value:expr => $kind:ty)* ; $given:ty) => {{
        let Object { metal, id } = $object;
        // SAFETY: the object is Metal's and was never released, the method is one of its protocol
        // with these types (Metal's headers), and the runtime's function has the form of the method
        // it calls.
        unsafe {
            let send = transmute::<
                unsafe extern "C" fn(),
                unsafe extern "C" fn(Id, Selector $(, $kind)*) -> $given,
            >(metal.send);
            send(id.as_ptr(), (metal.selector)($name.as_ptr()) $(, $value)*)
        }
    }};
}

impl Metal {
    /// Loads it.
    pub(super) fn load() -> Result<Self, libloading::Error> {
        // SAFETY: libraries of the system, whose initialisers may run in any process; the types of
        // the functions are those of their headers.
        unsafe {
            // Metal brings the runtime along; the name of its own finds it for sure.
            let libraries = [Library::new(METAL)?, Library::new(RUNTIME)?];
            let [metal, runtime] = &libraries;
            Ok(Self {
                copy_all_devices: *metal.get(b"MTLCopyAllDevices\0")?,
                selector: *runtime.get(b"sel_registerName\0")?,
                send: *runtime.get(b"objc_msgSend\0")?,
                _libraries: libraries,
            })
        }
    }

    /// All devices.
    pub(super) fn devices(&self) -> Vec<Object<'_>> {
        // SAFETY: it takes nothing, and gives an array that is the caller's.
        let Some(list) = self.object(unsafe { (self.copy_all_devices)() }) else {
            return Vec::new();
        };
        let count = send!(list, c"count"; usize);
        let device = |at| self.object(send!(list, c"objectAtIndex:", at => usize; Id));
        (0..count).filter_map(device).collect()
    }

    fn object(&self, id: Id) -> Option<Object<'_>> {
        Some(Object { metal: self, id: NonNull::new(id)? })
    }
}

/// A device.
impl<'metal> Object<'metal> {
    pub(super) fn name(self) -> String {
        text(send!(self, c"name"; Id))
    }

    pub(super) fn registry_id(self) -> u64 {
        send!(self, c"registryID"; u64)
    }

    pub(super) fn has_unified_memory(self) -> bool {
        send!(self, c"hasUnifiedMemory"; bool)
    }

    pub(super) fn recommended_max_working_set(self) -> u64 {
        send!(self, c"recommendedMaxWorkingSetSize"; u64)
    }

    pub(super) fn max_buffer_length(self) -> u64 {
        send!(self, c"maxBufferLength"; usize) as u64
    }

    pub(super) fn architecture(self) -> String {
        let architecture = self.metal.object(send!(self, c"architecture"; Id));
        architecture.map_or_else(String::new, Object::name)
    }

    pub(super) fn supports(self, family: isize) -> bool {
        send!(self, c"supportsFamily:", family => isize; bool)
    }

    pub(super) fn new_command_queue(self) -> Option<Self> {
        self.metal.object(send!(self, c"newCommandQueue"; Id))
    }

    /// Memory that the processor sees too.
    pub(super) fn new_buffer(self, bytes: usize) -> Option<Self> {
        let shared = 0;
        let made =
            send!(self, c"newBufferWithLength:options:", bytes => usize, shared => usize; Id);
        self.metal.object(made)
    }

    /// Compiles a source.
    pub(super) fn new_library(self, source: &str) -> Result<Self, String> {
        let source = CFString::from_str(source);
        // A `CFString` is an `NSString`.
        let source = ptr::from_ref::<CFString>(&source).cast_mut().cast::<c_void>();
        self.made(|error| {
            send!(
                self, c"newLibraryWithSource:options:error:",
                source => Id, ptr::null_mut() => Id, error => *mut Id; Id
            )
        })
    }

    pub(super) fn new_pipeline(self, function: Self) -> Result<Self, String> {
        let function = function.id.as_ptr();
        self.made(|error| {
            send!(
                self, c"newComputePipelineStateWithFunction:error:",
                function => Id, error => *mut Id; Id
            )
        })
    }

    /// What was made, or what the error says that was put there instead.
    fn made(self, make: impl FnOnce(*mut Id) -> Id) -> Result<Self, String> {
        let mut error: Id = ptr::null_mut();
        let made = make(&raw mut error);
        self.metal.object(made).ok_or_else(|| self.metal.error(error))
    }
}

/// A library of kernels.
impl Object<'_> {
    pub(super) fn new_function(self, name: &str) -> Option<Self> {
        let name = CFString::from_str(name);
        let name = ptr::from_ref::<CFString>(&name).cast_mut().cast::<c_void>();
        self.metal.object(send!(self, c"newFunctionWithName:", name => Id; Id))
    }
}

/// A queue of commands.
impl Object<'_> {
    /// Runs one group of threads over a buffer and waits for it.
    pub(super) fn run(self, pipeline: Self, buffer: Self, threads: usize) -> Result<(), String> {
        let (pipeline, buffer) = (pipeline.id.as_ptr(), buffer.id.as_ptr());
        let commands = self.metal.object(send!(self, c"commandBuffer"; Id));
        let commands = commands.ok_or("it takes no commands")?;
        let encoder = self.metal.object(send!(commands, c"computeCommandEncoder"; Id));
        let encoder = encoder.ok_or("it takes no commands that compute")?;
        send!(encoder, c"setComputePipelineState:", pipeline => Id; ());
        send!(
            encoder, c"setBuffer:offset:atIndex:",
            buffer => Id, 0 => usize, 0 => usize; ()
        );
        let row = |width| Size { width, height: 1, depth: 1 };
        send!(
            encoder, c"dispatchThreadgroups:threadsPerThreadgroup:",
            row(1) => Size, row(threads) => Size; ()
        );
        send!(encoder, c"endEncoding"; ());
        send!(commands, c"commit"; ());
        send!(commands, c"waitUntilCompleted"; ());
        if send!(commands, c"status"; usize) == COMPLETED {
            return Ok(());
        }
        Err(self.metal.error(send!(commands, c"error"; Id)))
    }
}

/// A buffer.
impl Object<'_> {
    /// Its first `count` numbers, of which it has at least as many.
    pub(super) fn words(self, count: usize) -> Vec<u32> {
        let Some(start) = NonNull::new(send!(self, c"contents"; *mut u32)) else {
            return Vec::new();
        };
        // SAFETY: the buffer is that long, and nothing writes to it any more.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), count) }.to_vec()
    }
}

impl Metal {
    /// What an `NSError` says.
    fn error(&self, error: Id) -> String {
        let said = self.object(error).map(|error| text(send!(error, c"localizedDescription"; Id)));
        said.unwrap_or_else(|| "no reason is given".to_owned())
    }
}

/// The text of an `NSString`.
fn text(string: Id) -> String {
    let Some(string) = NonNull::new(string) else { return String::new() };
    // SAFETY: an `NSString` is a `CFString`, and this one is not released.
    unsafe { string.cast::<CFString>().as_ref() }.to_string()
}
