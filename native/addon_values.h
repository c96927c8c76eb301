// JavaScript values in and out: errors with a code, checked numbers and typed arrays, and opaque handles.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <napi.h>

#include "memory.h"
#include "plan.h"

namespace nodevae {

// Becomes a JavaScript Error with a `code`; lib/runtime/native.ts turns it into a VaeError of that code.
struct Failure {
  const char* code;
  std::string problem;
};

// The exception being handled as a JavaScript error; null when none can be made. For use inside `catch (...)`.
napi_value current_error(napi_env env) noexcept;

// Every function that Node calls runs inside this. Node is C to us: an exception that left a callback would end the
// process. And from the moment on that an environment is ending, which may be in the middle of a callback, all of
// Node-API may fail, throwing included; nobody is left to be told then.
template <class Body> napi_value guarded(napi_env env, const Body& body) noexcept {
  try {
    return body();
  } catch (...) {
    if (const napi_value error = current_error(env)) napi_throw(env, error);
    return nullptr;
  }
}

constexpr int64_t kMaxSafeInteger = (int64_t{1} << 53) - 1;
int64_t to_integer(Napi::Value value, const char* name, int64_t minimum, int64_t maximum);
bool to_boolean(Napi::Value value, const char* name);
std::string to_string(Napi::Value value, const char* name);
DType to_dtype(Napi::Value value);
const char* dtype_name(DType dtype);

// The elements of a typed array, checked: its type and that its buffer has not been transferred away. Valid only
// until JavaScript runs again.
struct ArrayView {
  const char* data;
  size_t elements;
};
ArrayView to_array(Napi::Value value, DType dtype, const std::string& name);
// New typed arrays in V8's own memory. Throw Failure "memory" when there is none.
Napi::Value from_bytes(Napi::Env env, DType dtype, const void* data, size_t elements);
Napi::Value from_doubles(Napi::Env env, const std::vector<double>& numbers);

// An opaque handle: a tagged JavaScript object that shares ownership of a T. A value that is not such an object is
// refused, so a mixed-up argument cannot be taken for memory.
template <class T> Napi::Object to_handle(Napi::Env env, std::shared_ptr<T> value) {
  Napi::Object object = Napi::Object::New(env);
  auto* owned = new std::shared_ptr<T>(std::move(value));
  const napi_status status = napi_wrap(
      env, object, owned, [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<T>*>(data); }, nullptr,
      nullptr);
  if (status != napi_ok) {
    delete owned;
    throw Failure{"native", "a handle could not be made"};
  }
  if (napi_type_tag_object(env, object, &T::kTag) != napi_ok) throw Failure{"native", "a handle could not be tagged"};
  return object;
}

template <class T> std::shared_ptr<T> from_handle(Napi::Value value) {
  bool tagged = false;
  void* data = nullptr;
  if (!value.IsObject() || napi_check_object_type_tag(value.Env(), value, &T::kTag, &tagged) != napi_ok || !tagged ||
      napi_unwrap(value.Env(), value, &data) != napi_ok)
    throw Failure{"argument", std::string("expected a ") + T::kName};
  return *static_cast<std::shared_ptr<T>*>(data);
}

} // namespace nodevae
