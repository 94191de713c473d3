//! Encoding and decoding each frame between devices and gateways, in JSON and in Protobuf.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use samples::{client_frames, server_frames};
use squall_protocol::token::{Claims, KeySet, Material};
use squall_protocol::{Codec, DeviceId, UserId};
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

/// What a gateway does for each `hello`, and the app's backend before it.
fn tokens(c: &mut Criterion) {
    let keys = KeySet::of(&[("hs256", Material::Secret(&[1; 32])), ("eddsa", Material::Pair([2; 32]))]);
    let claims = Claims { user: UserId(1), device: DeviceId(11), expires_s: 1_767_225_600, not_before_s: None };
    let mut group = c.benchmark_group("token");
    for id in ["hs256", "eddsa"] {
        let issuer = keys.issuer(Some(id)).expect("both can sign");
        let token = issuer.issue(&claims);
        group.bench_function(format!("issue {id}"), |b| b.iter(|| issuer.issue(black_box(&claims))));
        group.bench_function(format!("check {id}"), |b| b.iter(|| keys.check(black_box(token.as_str()), 0)));
    }
    group.finish();
}

criterion_group!(benches, codecs, tokens);
criterion_main!(benches);
