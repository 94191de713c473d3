//! Compiles the `.proto` files with protox, so that no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["client.proto", "log.proto", "messages.proto", "registry.proto", "bus.proto", "presence.proto"];
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    prost_build::Config::new().include_file("squall.rs").compile_fds(descriptors)?;
    Ok(())
}
