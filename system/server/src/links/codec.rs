//! Messages of links as bytes: prost's, read from one slice.
//!
//! tonic's own codec reads through its buffer byte by byte, each number of a message with several calls into it, which takes about
//! twice as long. The buffer holds a whole message in one piece; should it ever not, it is read as tonic's does.

use prost::Message;
use prost::bytes::Buf;
use std::marker::PhantomData;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

/// prost's messages, `T` to encode and `U` to decode.
pub struct SliceCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SliceCodec<T, U> {
    fn default() -> Self {
        SliceCodec(PhantomData)
    }
}

impl<T, U> Codec for SliceCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = SliceDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        SliceDecoder(PhantomData)
    }
}

/// Decodes prost's messages.
pub struct SliceDecoder<U>(PhantomData<U>);

impl<U: Message + Default> Decoder for SliceDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let length = buf.remaining();
        let decoded = match buf.chunk() {
            whole if whole.len() == length => {
                let decoded = U::decode(whole);
                buf.advance(length);
                decoded
            }
            _ => U::decode(buf),
        };
        decoded.map(Some).map_err(|error| Status::internal(format!("not a message of ours: {error}")))
    }
}
