//! Encoding and decoding each frame between devices and gateways, in JSON and in Protobuf.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use samples::{client_frames, server_frames};
use squall_protocol::Codec;
use std::hint::black_box;

#[path = "../tests/samples/mod.rs"]
mod samples;

fn codecs(c: &mut Criterion) {
    for codec in Codec::ALL {
        let mut group = c.benchmark_group(format!("{codec:?}").to_lowercase());
        for (name, frame) in client_frames() {
            let bytes = codec.encode_client(&frame);
            group.bench_function(format!("encode {name}"), |b| b.iter(|| codec.encode_client(black_box(&frame))));
            group.bench_function(format!("decode {name}"), |b| {
                b.iter_batched(|| &bytes, |bytes| codec.decode_client(black_box(bytes)), BatchSize::SmallInput)
            });
        }
        for (name, frame) in server_frames() {
            let bytes = codec.encode_server(&frame);
            group.bench_function(format!("encode {name}"), |b| b.iter(|| codec.encode_server(black_box(&frame))));
            group.bench_function(format!("decode {name}"), |b| {
                b.iter_batched(|| &bytes, |bytes| codec.decode_server(black_box(bytes)), BatchSize::SmallInput)
            });
        }
        group.finish();
    }
}

criterion_group!(benches, codecs);
criterion_main!(benches);
