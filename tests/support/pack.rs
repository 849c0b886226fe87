//! MessagePack as a tree, so that a test can put anything into any place of a message.

#![expect(clippy::unwrap_used, reason = "tests")]

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Pack {
    Nil,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Vec<u8>),
    Bytes(Vec<u8>),
    List(Vec<Pack>),
    Map(Vec<(Pack, Pack)>),
}

impl Pack {
    /// The tree of one value.
    pub fn read(mut bytes: &[u8]) -> Self {
        let value = take(&mut bytes);
        assert!(bytes.is_empty(), "{} bytes are left", bytes.len());
        value
    }

    /// The bytes of the tree.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    /// All places of the tree but the names of fields.
    pub fn places(&self) -> usize {
        1 + match self {
            Self::List(items) => items.iter().map(Self::places).sum(),
            Self::Map(entries) => entries.iter().map(|(_, value)| value.places()).sum(),
            _ => 0,
        }
    }

    /// The place of this number, from the top.
    pub fn place(&mut self, number: usize) -> Option<&mut Self> {
        if number == 0 {
            return Some(self);
        }
        let below: Vec<&mut Self> = match self {
            Self::List(items) => items.iter_mut().collect(),
            Self::Map(entries) => entries.iter_mut().map(|(_, value)| value).collect(),
            _ => Vec::new(),
        };
        let mut left = number - 1;
        for value in below {
            let places = value.places();
            if left < places {
                return value.place(left);
            }
            left -= places;
        }
        None
    }

    /// Lists in lists.
    pub fn nested(depth: usize) -> Self {
        (0..depth).fold(Self::Nil, |inner, _| Self::List(vec![inner]))
    }

    fn put(&self, out: &mut Vec<u8>) {
        let head = |out: &mut Vec<u8>, kind: u8, len: usize| {
            out.push(kind);
            out.extend(u32::try_from(len).unwrap().to_be_bytes());
        };
        match self {
            Self::Nil => out.push(0xc0),
            Self::Bool(value) => out.push(0xc2 + u8::from(*value)),
            Self::Int(value) => match (u64::try_from(*value), i64::try_from(*value)) {
                (Ok(value), _) => {
                    out.push(0xcf);
                    out.extend(value.to_be_bytes());
                }
                (_, Ok(value)) => {
                    out.push(0xd3);
                    out.extend(value.to_be_bytes());
                }
                _ => panic!("{value}"),
            },
            Self::Float(value) => {
                out.push(0xcb);
                out.extend(value.to_be_bytes());
            }
            Self::Text(bytes) => {
                head(out, 0xdb, bytes.len());
                out.extend(bytes);
            }
            Self::Bytes(bytes) => {
                head(out, 0xc6, bytes.len());
                out.extend(bytes);
            }
            Self::List(items) => {
                head(out, 0xdd, items.len());
                items.iter().for_each(|item| item.put(out));
            }
            Self::Map(entries) => {
                head(out, 0xdf, entries.len());
                for (key, value) in entries {
                    key.put(out);
                    value.put(out);
                }
            }
        }
    }
}

fn bytes<const N: usize>(from: &mut &[u8]) -> [u8; N] {
    let (head, rest) = from.split_first_chunk().unwrap();
    *from = rest;
    *head
}

fn number(from: &mut &[u8], width: u8) -> usize {
    match width {
        0 => bytes::<1>(from)[0].into(),
        1 => u16::from_be_bytes(bytes(from)).into(),
        _ => u32::from_be_bytes(bytes(from)) as usize,
    }
}

fn run(from: &mut &[u8], len: usize) -> Vec<u8> {
    let (head, rest) = from.split_at(len);
    *from = rest;
    head.to_vec()
}

fn list(from: &mut &[u8], len: usize) -> Pack {
    Pack::List((0..len).map(|_| take(from)).collect())
}

fn map(from: &mut &[u8], len: usize) -> Pack {
    Pack::Map((0..len).map(|_| (take(from), take(from))).collect())
}

fn take(from: &mut &[u8]) -> Pack {
    let [kind] = bytes(from);
    match kind {
        0x00..=0x7f => Pack::Int(kind.into()),
        0x80..=0x8f => map(from, (kind & 0xf).into()),
        0x90..=0x9f => list(from, (kind & 0xf).into()),
        0xa0..=0xbf => Pack::Text(run(from, (kind & 0x1f).into())),
        0xc0 => Pack::Nil,
        0xc2 | 0xc3 => Pack::Bool(kind == 0xc3),
        0xc4..=0xc6 => {
            let len = number(from, kind - 0xc4);
            Pack::Bytes(run(from, len))
        }
        0xca => Pack::Float(f32::from_be_bytes(bytes(from)).into()),
        0xcb => Pack::Float(f64::from_be_bytes(bytes(from))),
        0xcc => Pack::Int(bytes::<1>(from)[0].into()),
        0xcd => Pack::Int(u16::from_be_bytes(bytes(from)).into()),
        0xce => Pack::Int(u32::from_be_bytes(bytes(from)).into()),
        0xcf => Pack::Int(u64::from_be_bytes(bytes(from)).into()),
        0xd0 => Pack::Int(i8::from_be_bytes(bytes(from)).into()),
        0xd1 => Pack::Int(i16::from_be_bytes(bytes(from)).into()),
        0xd2 => Pack::Int(i32::from_be_bytes(bytes(from)).into()),
        0xd3 => Pack::Int(i64::from_be_bytes(bytes(from)).into()),
        0xd9..=0xdb => {
            let len = number(from, kind - 0xd9);
            Pack::Text(run(from, len))
        }
        0xdc | 0xdd => {
            let len = number(from, kind - 0xdb);
            list(from, len)
        }
        0xde | 0xdf => {
            let len = number(from, kind - 0xdd);
            map(from, len)
        }
        0xe0..=0xff => Pack::Int(kind.cast_signed().into()),
        other => panic!("no kind of value that a message holds: {other:#x}"),
    }
}
