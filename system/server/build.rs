//! Compiles the services of the internal `.proto` files; their messages are `squall_protocol::wire`'s.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "../protocol/proto";
    println!("cargo:rerun-if-changed={root}");
    let descriptors =
        protox::compile(["messages.proto", "registry.proto", "bus.proto", "presence.proto"], [root])?;
    let mut builder = tonic_prost_build::configure().codec_path("crate::links::SliceCodec");
    for package in ["bus", "client", "log", "messages", "presence", "registry"] {
        builder =
            builder.extern_path(format!(".squall.{package}.v1"), format!("::squall_protocol::wire::{package}"));
    }
    builder.compile_fds(descriptors)?;
    Ok(())
}
