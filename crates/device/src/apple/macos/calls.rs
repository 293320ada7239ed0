//! Calls into libSystem and IOKit. Everything unsafe of this crate is here.

#![expect(unsafe_code, reason = "C interfaces")]

use std::ffi::{CString, c_char, c_int};
use std::ptr;

use objc2_core_foundation::{CFDictionary, CFNumber, CFRetained, CFString, CFType};
use objc2_io_kit::{
    IOIteratorNext, IOObjectGetClass, IOObjectRelease, IOPSCopyPowerSourcesInfo,
    IOPSGetProvidingPowerSourceType, IORegistryEntryCreateCFProperty,
    IORegistryEntryGetRegistryEntryID, IOServiceGetMatchingServices, IOServiceMatching,
    kIOMainPortDefault,
};

use crate::apple::Value;

/// A value of sysctl as bytes; nothing if there is no such value or it is longer than this reads.
fn sysctl(name: &str) -> Option<Vec<u8>> {
    let name = CString::new(name).ok()?;
    let mut bytes = vec![0_u8; 256];
    let mut length = bytes.len();
    // SAFETY: the name ends with a NUL, the buffer has as many bytes as `length` says, and nothing
    // is set.
    let result = unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            bytes.as_mut_ptr().cast(),
            &raw mut length,
            ptr::null_mut(),
            0,
        )
    };
    bytes.truncate(length);
    (result == 0).then_some(bytes)
}

/// A value of sysctl that is text.
pub(super) fn text(name: &str) -> Option<String> {
    let mut bytes = sysctl(name)?;
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    String::from_utf8(bytes).ok()
}

/// A value of sysctl that is a number of four or eight bytes.
pub(super) fn number(name: &str) -> Option<i64> {
    let bytes = sysctl(name)?;
    match bytes.len() {
        4 => Some(i32::from_ne_bytes(bytes.try_into().ok()?).into()),
        8 => Some(i64::from_ne_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}

/// An entry of the I/O registry.
#[derive(Debug)]
pub(super) struct Entry(u32);

impl Drop for Entry {
    fn drop(&mut self) {
        // What is wrong with the handle cannot be helped here.
        let _ = IOObjectRelease(self.0);
    }
}

impl Entry {
    /// Its id, which stays the same until the next start of the machine; 0 if unknown.
    pub(super) fn id(&self) -> u64 {
        let mut id = 0;
        // SAFETY: the pointer is to a number of this function.
        let result = unsafe { IORegistryEntryGetRegistryEntryID(self.0, &raw mut id) };
        if result == 0 { id } else { 0 }
    }

    /// The class of its driver; empty if unknown.
    pub(super) fn class(&self) -> String {
        let mut name: [c_char; 128] = [0; 128];
        // SAFETY: the buffer is as long as an `io_name_t` and lives through the call.
        let result = unsafe { IOObjectGetClass(self.0, &raw mut name) };
        if result != 0 {
            return String::new();
        }
        let bytes: Vec<u8> =
            name.iter().map(|byte| byte.cast_unsigned()).take_while(|byte| *byte != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// One of its properties, if it has it and it is of a kind that matters here.
    pub(super) fn property(&self, name: &str) -> Option<Value> {
        let key = CFString::from_str(name);
        // SAFETY: the key is given; no allocator means the default one, and there are no options.
        let value = unsafe { IORegistryEntryCreateCFProperty(self.0, Some(&key), None, 0) }?;
        to_value(&value)
    }
}

fn to_value(value: &CFType) -> Option<Value> {
    if let Some(number) = value.downcast_ref::<CFNumber>() {
        return number.as_i64().map(Value::Number);
    }
    if let Some(text) = value.downcast_ref::<CFString>() {
        return Some(Value::Text(text.to_string()));
    }
    let dictionary = value.downcast_ref::<CFDictionary>()?;
    // SAFETY: keys and values of a property list are Core Foundation objects.
    let dictionary = unsafe { dictionary.cast_unchecked::<CFType, CFType>() };
    let (keys, values) = dictionary.to_vecs();
    let pairs = keys.iter().zip(&values).filter_map(|(key, value)| {
        Some((key.downcast_ref::<CFString>()?.to_string(), to_value(value)?))
    });
    Some(Value::Map(pairs.collect()))
}

/// The accelerators in the I/O registry.
pub(super) fn accelerators() -> Vec<Entry> {
    // SAFETY: the name ends with a NUL. The dictionary is not looked into.
    let Some(matching) = (unsafe { IOServiceMatching(c"IOAccelerator".as_ptr()) }) else {
        return Vec::new();
    };
    // SAFETY: a mutable dictionary is a dictionary.
    let matching = unsafe { CFRetained::cast_unchecked::<CFDictionary>(matching) };
    let mut iterator = 0;
    // SAFETY: the port is a constant of IOKit's, and the pointer is to a handle of this function.
    let result = unsafe {
        IOServiceGetMatchingServices(kIOMainPortDefault, Some(matching), &raw mut iterator)
    };
    if result != 0 || iterator == 0 {
        return Vec::new();
    }
    let iterator = Entry(iterator);
    let next = || match IOIteratorNext(iterator.0) {
        0 => None,
        entry => Some(Entry(entry)),
    };
    std::iter::from_fn(next).collect()
}

/// What feeds the machine, as `AC Power`.
pub(super) fn power_source() -> Option<String> {
    let sources = IOPSCopyPowerSourcesInfo()?;
    // SAFETY: the argument is what the call before gave, as the interface demands.
    let source = unsafe { IOPSGetProvidingPowerSourceType(Some(&sources)) }?;
    Some(source.to_string())
}

// Of <notify.h>, which is in libSystem.
unsafe extern "C" {
    fn notify_register_check(name: *const c_char, token: *mut c_int) -> u32;
    fn notify_get_state(token: c_int, state: *mut u64) -> u32;
    fn notify_cancel(token: c_int) -> u32;
}

/// The thermal pressure that macOS tells everybody.
#[derive(Debug)]
pub(super) struct ThermalPressure(c_int);

impl ThermalPressure {
    pub(super) fn open() -> Option<Self> {
        let mut token = 0;
        // SAFETY: the name ends with a NUL, and the pointer is to a number of this function.
        let result = unsafe {
            notify_register_check(c"com.apple.system.thermalpressurelevel".as_ptr(), &raw mut token)
        };
        (result == 0).then_some(Self(token))
    }

    pub(super) fn level(&self) -> Option<u64> {
        let mut level = 0;
        // SAFETY: the token is registered, and the pointer is to a number of this function.
        let result = unsafe { notify_get_state(self.0, &raw mut level) };
        (result == 0).then_some(level)
    }
}

impl Drop for ThermalPressure {
    fn drop(&mut self) {
        // SAFETY: the token is registered, and nobody uses it after this.
        unsafe { notify_cancel(self.0) };
    }
}
