//! The numbers of the `spec` modules against those of the Linux kernel's user-space headers, as
//! the crate `virtio-bindings` carries them: an outside witness, as far as it reaches.

use crate::{blk, console, net, rng, transport, virtqueue};
use virtio_bindings::{virtio_blk, virtio_config, virtio_ids, virtio_net, virtio_ring};

#[test]
fn feature_bits_are_those_of_the_headers() {
    use blk::spec::feature as disk;
    let bits = [
        (
            transport::spec::feature::VERSION_1,
            virtio_config::VIRTIO_F_VERSION_1,
        ),
        (
            virtqueue::spec::feature::INDIRECT_DESC,
            virtio_ring::VIRTIO_RING_F_INDIRECT_DESC,
        ),
        (
            virtqueue::spec::feature::EVENT_IDX,
            virtio_ring::VIRTIO_RING_F_EVENT_IDX,
        ),
        (disk::SIZE_MAX, virtio_blk::VIRTIO_BLK_F_SIZE_MAX),
        (disk::SEG_MAX, virtio_blk::VIRTIO_BLK_F_SEG_MAX),
        (disk::RO, virtio_blk::VIRTIO_BLK_F_RO),
        (disk::BLK_SIZE, virtio_blk::VIRTIO_BLK_F_BLK_SIZE),
        (disk::FLUSH, virtio_blk::VIRTIO_BLK_F_FLUSH),
    ];
    for (ours, theirs) in bits {
        assert_eq!(ours, 1 << theirs);
    }
}

#[test]
fn status_bits_are_those_of_the_headers() {
    use transport::spec::status;
    let bits = [
        (
            status::ACKNOWLEDGE,
            virtio_config::VIRTIO_CONFIG_S_ACKNOWLEDGE,
        ),
        (status::DRIVER, virtio_config::VIRTIO_CONFIG_S_DRIVER),
        (status::DRIVER_OK, virtio_config::VIRTIO_CONFIG_S_DRIVER_OK),
        (
            status::FEATURES_OK,
            virtio_config::VIRTIO_CONFIG_S_FEATURES_OK,
        ),
        (
            status::DEVICE_NEEDS_RESET,
            virtio_config::VIRTIO_CONFIG_S_NEEDS_RESET,
        ),
        (status::FAILED, virtio_config::VIRTIO_CONFIG_S_FAILED),
    ];
    for (ours, theirs) in bits {
        assert_eq!(u32::from(ours), theirs);
    }
}

#[test]
fn rings_are_laid_out_as_in_the_headers() {
    use virtqueue::spec::{available, descriptor, used};
    assert_eq!(
        descriptor::SIZE as usize,
        size_of::<virtio_ring::vring_desc>()
    );
    assert_eq!(
        used::ELEMENT_SIZE as usize,
        size_of::<virtio_ring::vring_used_elem>()
    );
    assert_eq!(
        descriptor::ALIGNMENT,
        u64::from(virtio_ring::VRING_DESC_ALIGN_SIZE)
    );
    assert_eq!(
        available::ALIGNMENT,
        u64::from(virtio_ring::VRING_AVAIL_ALIGN_SIZE)
    );
    assert_eq!(
        used::ALIGNMENT,
        u64::from(virtio_ring::VRING_USED_ALIGN_SIZE)
    );
    let flags = [
        (descriptor::F_NEXT, virtio_ring::VRING_DESC_F_NEXT),
        (descriptor::F_WRITE, virtio_ring::VRING_DESC_F_WRITE),
        (descriptor::F_INDIRECT, virtio_ring::VRING_DESC_F_INDIRECT),
        (
            available::F_NO_INTERRUPT,
            virtio_ring::VRING_AVAIL_F_NO_INTERRUPT,
        ),
    ];
    for (ours, theirs) in flags {
        assert_eq!(u32::from(ours), theirs);
    }
}

#[test]
fn disk_requests_are_those_of_the_headers() {
    use blk::spec::{request, status};
    let kinds = [
        (request::IN, virtio_blk::VIRTIO_BLK_T_IN),
        (request::OUT, virtio_blk::VIRTIO_BLK_T_OUT),
        (request::FLUSH, virtio_blk::VIRTIO_BLK_T_FLUSH),
        (request::GET_ID, virtio_blk::VIRTIO_BLK_T_GET_ID),
        (request::ID_SIZE as u32, virtio_blk::VIRTIO_BLK_ID_BYTES),
        (status::OK.into(), virtio_blk::VIRTIO_BLK_S_OK),
        (status::IOERR.into(), virtio_blk::VIRTIO_BLK_S_IOERR),
        (status::UNSUPP.into(), virtio_blk::VIRTIO_BLK_S_UNSUPP),
    ];
    for (ours, theirs) in kinds {
        assert_eq!(ours, theirs);
    }
    assert_eq!(
        request::HEADER_SIZE,
        size_of::<virtio_blk::virtio_blk_outhdr>()
    );
    // The configuration ends with blk_size.
    assert_eq!(
        blk::spec::config::SIZE,
        std::mem::offset_of!(virtio_blk::virtio_blk_config, blk_size) + 4
    );
}

#[test]
fn device_ids_are_those_of_the_headers() {
    assert_eq!(u32::from(blk::spec::ID), virtio_ids::VIRTIO_ID_BLOCK);
    assert_eq!(u32::from(console::spec::ID), virtio_ids::VIRTIO_ID_CONSOLE);
    assert_eq!(u32::from(net::spec::ID), virtio_ids::VIRTIO_ID_NET);
    assert_eq!(u32::from(rng::ID), virtio_ids::VIRTIO_ID_RNG);
}

#[test]
fn network_packets_are_those_of_the_headers() {
    use net::spec::{config, feature, header};
    assert_eq!(feature::MAC, 1 << virtio_net::VIRTIO_NET_F_MAC);
    assert_eq!(feature::STATUS, 1 << virtio_net::VIRTIO_NET_F_STATUS);
    assert_eq!(u32::from(config::LINK_UP), virtio_net::VIRTIO_NET_S_LINK_UP);
    assert_eq!(
        header::SIZE,
        size_of::<virtio_net::virtio_net_hdr_mrg_rxbuf>()
    );
    assert_eq!(
        header::NUM_BUFFERS,
        std::mem::offset_of!(virtio_net::virtio_net_hdr_mrg_rxbuf, num_buffers)
    );
    assert_eq!(
        header::GSO_TYPE,
        std::mem::offset_of!(virtio_net::virtio_net_hdr_v1, gso_type)
    );
    assert_eq!(
        config::SIZE,
        std::mem::offset_of!(virtio_net::virtio_net_config, status) + 2
    );
}
