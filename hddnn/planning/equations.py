"""The equations of the HDDNN paper (IEEE Transactions on Big Data), one pure function each, by number.

Symbols: N_t tasks (a task is one batch), tc communication time of a task, tp processing time of a task,
te time to encode ("encrypt") a task, p the accuracy of a tier's network, theta a share of the tasks.
Equations 12 and 13, the stem convolution and its inverse, are networks and not times.
"""

from __future__ import annotations

import math


def eq_1(n_tasks: float, n_end: int, tc_end_s: float, tp_end_s: float) -> float:
    """Return T_End in s, the time of the End scheme: (N_t / N_end) (tc_end + tp_end).

    n_tasks, n_end: counts; tc_end_s, tp_end_s: s a task. Source: eq. 1.
    """
    return n_tasks / n_end * (tc_end_s + tp_end_s)


def eq_2(p_end: float) -> float:
    """Return P_End, the accuracy of the End scheme: that of the end devices' network.

    p_end: share of right answers, 0 to 1. Source: eq. 2.
    """
    return p_end


def eq_3(t_end_s: float, n_tasks: float, n_cloud: int, tc_cloud_s: float, tp_cloud_s: float) -> float:
    """Return T_End-Cloud in s: T_End + (N_t / N_cloud) (tc_cloud + tp_cloud).

    t_end_s: s, from eq. 1; n_tasks, n_cloud: counts; tc_cloud_s, tp_cloud_s: s a task. Source: eq. 3.
    """
    return t_end_s + n_tasks / n_cloud * (tc_cloud_s + tp_cloud_s)


def eq_4(p_end: float, p_cloud: float) -> float:
    """Return P_End-Cloud, the better of the two accuracies (the cloud's, in practice).

    p_end, p_cloud: shares of right answers, 0 to 1. Source: eq. 4.
    """
    return max(p_end, p_cloud)


def eq_5(t_end_s: float, n_tasks: float, n_edge: int, tc_edge_s: float, tp_edge_s: float) -> float:
    """Return T_End-Edge in s: T_End + (N_t / N_edge) (tc_edge + tp_edge).

    t_end_s: s, from eq. 1; n_tasks, n_edge: counts; tc_edge_s, tp_edge_s: s a task. Source: eq. 5.
    """
    return t_end_s + n_tasks / n_edge * (tc_edge_s + tp_edge_s)


def eq_6(p_edge: float) -> float:
    """Return P_End-Edge, the accuracy of the End-Edge scheme: that of the edge devices' network.

    p_edge: share of right answers, 0 to 1. Source: eq. 6.
    """
    return p_edge


def eq_7(tc_edge_s: float, tp_edge_s: float, tc_end_s: float, tp_end_s: float) -> int:
    """Return N_map, the end devices that feed one edge device: ceil((tc_edge + tp_edge) / (tc_end + tp_end)).

    All in s a task; at least 1. Raises ZeroDivisionError when an end device takes no time. Source: eq. 7.
    """
    ratio = (tc_edge_s + tp_edge_s) / (tc_end_s + tp_end_s)
    # (0.1 + 0.2) / 0.1 is a little above 3 in binary; it must not become 4.
    return max(1, math.ceil(round(ratio, 9)))


def eq_8(n_end: int, n_edge: int, n_map: int) -> float:
    """Return theta_cloud, the share of tasks that Mapping sends to the cloud: (N_end - N_edge N_map) / N_end.

    Counts of devices, and end devices an edge device; 0 when the edge devices suffice for all end devices
    (the paper leaves that case out, where its formula turns negative). Source: eq. 8.
    """
    return max(0.0, (n_end - n_edge * n_map) / n_end)


def eq_9(theta_cloud: float) -> float:
    """Return theta_edge, the share of tasks that Mapping sends to the edge: 1 - theta_cloud.

    theta_cloud: 0 to 1, from eq. 8. Source: eq. 9.
    """
    return 1.0 - theta_cloud


def eq_10(theta_cloud: float, p_cloud: float, p_edge: float) -> float:
    """Return P_Mapping: theta_cloud p_cloud + theta_edge p_edge.

    theta_cloud: 0 to 1, from eq. 8; p_cloud, p_edge: shares of right answers, 0 to 1. Source: eq. 10.
    """
    return theta_cloud * p_cloud + eq_9(theta_cloud) * p_edge


def eq_11(theta_cloud: float, t_end_cloud_s: float, t_end_edge_s: float) -> float:
    """Return T_Mapping in s: theta_cloud T_End-Cloud + theta_edge T_End-Edge.

    theta_cloud: 0 to 1, from eq. 8; t_end_cloud_s, t_end_edge_s: s, from eq. 3 and 5. Source: eq. 11.
    """
    return theta_cloud * t_end_cloud_s + eq_9(theta_cloud) * t_end_edge_s


def eq_14(tc_s: float, tp_s: float) -> float:
    """Return T_raw in s, the time of a task sent up as it is: tc + tp.

    tc_s, tp_s: s a task. Source: eq. 14.
    """
    return tc_s + tp_s


def eq_15(tc_encoded_s: float, tp_s: float, te_s: float) -> float:
    """Return T_encrypt in s, the time of a task sent up as features: tc' + tp + te.

    tc_encoded_s: s to send the features; tp_s: s to process; te_s: s to encode. Source: eq. 15.
    """
    return tc_encoded_s + tp_s + te_s


def eq_16(tc_encoded_s: float, tc_s: float, te_s: float) -> float:
    """Return Delta T in s, what encoding adds to the time of a task: (tc' - tc) + te.

    tc_encoded_s, tc_s: s to send the features and the raw images; te_s: s to encode. Source: eq. 16.
    """
    return (tc_encoded_s - tc_s) + te_s


def eq_17(n_tasks: float, timeout_s: float) -> float:
    """Return the communication overhead of Reassign in s: N_t t_timeout.

    n_tasks: tasks that were sent to failed devices; timeout_s: s a try. Source: eq. 17.
    """
    return n_tasks * timeout_s


def eq_18(data_bytes: float, protocol_bytes: float, metadata_bytes: float, bandwidth_bps: float) -> float:
    """Return tc in s, the time to send a task: (B_data + B_proto + B_meta) / b.

    Sizes in bytes, bandwidth_bps in bits/s (8 bits a byte). Source: eq. 18.
    """
    return 8 * (data_bytes + protocol_bytes + metadata_bytes) / bandwidth_bps


def eq_19(dtype_bytes: int, batch_size: int, width: int, height: int, channels: int) -> int:
    """Return B_data in bytes, the size of a task's payload: B_dtype BS W H Ch.

    dtype_bytes: bytes a number (1 for uint8 images, 4 for float32 features); batch_size: images.
    The paper says "proportional to"; uncompressed, the factor is 1. Source: eq. 19.
    """
    return dtype_bytes * batch_size * width * height * channels
