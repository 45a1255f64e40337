# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""What is known of the agent's flags: releases, kind of value, effect of a change on the agent's recovery.

Taken from the documents of 0.21.2 and 1.11.0, from their source where it says more, and from what running
agents answer at /flags. It is Python, not a data file, because Ansible sends only Python to a host.
"""

from __future__ import annotations

import collections

Flag = collections.namedtuple("Flag", "name versions kind effect reason")

# kind     bool, string, integer, port, number, duration, bytes, json, container_info, parts (attributes, resources),
#          path (of a file with a secret)
# effect   restart: a restarted agent comes back and keeps its executors; incompatible: it does not, or nobody
#          knows; never: the agent would not start at all; rule: see flag_effects
_TABLE = """\
acls|1.x|json|incompatible|its effect on recovery is unknown
advertise_ip|1.x|string|incompatible|its effect on recovery is unknown
advertise_port|1.x|port|incompatible|its effect on recovery is unknown
agent_features|1.x|json|incompatible|its effect on recovery is unknown
agent_subsystems|1.x|string|incompatible|its effect on recovery is unknown
allowed_devices|1.x|json|incompatible|its effect on recovery is unknown
appc_simple_discovery_uri_prefix|1.x|string|incompatible|its effect on recovery is unknown
appc_store_dir|1.x|string|incompatible|its effect on recovery is unknown
attributes|both|parts|incompatible|part of the agent's identity
authenticate_http_executors|1.x|bool|incompatible|its effect on recovery is unknown
authenticate_http_readonly|1.x|bool|incompatible|its effect on recovery is unknown
authenticate_http_readwrite|1.x|bool|incompatible|its effect on recovery is unknown
authenticatee|1.x|string|incompatible|its effect on recovery is unknown
authentication_backoff_factor|1.x|duration|incompatible|its effect on recovery is unknown
authentication_timeout_max|1.x|duration|incompatible|its effect on recovery is unknown
authentication_timeout_min|1.x|duration|incompatible|its effect on recovery is unknown
authorizer|1.x|string|incompatible|its effect on recovery is unknown
bounding_capabilities|1.x|json|incompatible|its effect on recovery is unknown
cgroups_cpu_enable_pids_and_tids_count|1.x|bool|incompatible|its effect on recovery is unknown
cgroups_destroy_timeout|1.x|duration|incompatible|its effect on recovery is unknown
cgroups_enable_cfs|both|bool|restart|-
cgroups_hierarchy|both|string|incompatible|running containers' cgroups would not be found
cgroups_limit_swap|both|bool|restart|-
cgroups_net_cls_primary_handle|1.x|string|incompatible|its effect on recovery is unknown
cgroups_net_cls_secondary_handles|1.x|string|incompatible|its effect on recovery is unknown
cgroups_root|both|string|incompatible|running containers' cgroups would not be found
cgroups_subsystems|0.21|string|restart|-
check_agent_port_range_only|1.x|bool|incompatible|its effect on recovery is unknown
checkpoint|0.21|bool|incompatible|part of the agent's identity
container_disk_watch_interval|1.x|duration|incompatible|its effect on recovery is unknown
container_logger|1.x|string|incompatible|its effect on recovery is unknown
container_ports_isolated_range|1.x|string|incompatible|its effect on recovery is unknown
container_ports_watch_interval|1.x|duration|incompatible|its effect on recovery is unknown
containerizer_path|0.21|string|restart|-
containerizers|both|string|rule|containers of a removed containerizer would be lost
credential|both|path|restart|-
csi_plugin_config_dir|1.x|string|incompatible|its effect on recovery is unknown
default_container_dns|1.x|json|incompatible|its effect on recovery is unknown
default_container_image|0.21|string|restart|-
default_container_info|both|container_info|restart|-
default_container_shm_size|1.x|bytes|incompatible|its effect on recovery is unknown
default_role|both|string|incompatible|it changes roles inside resources
disallow_sharing_agent_ipc_namespace|1.x|bool|incompatible|its effect on recovery is unknown
disallow_sharing_agent_pid_namespace|1.x|bool|incompatible|its effect on recovery is unknown
disk_profile_adaptor|1.x|string|incompatible|its effect on recovery is unknown
disk_watch_interval|both|duration|restart|-
docker|both|string|restart|-
docker_config|1.x|json|incompatible|its effect on recovery is unknown
docker_ignore_runtime|1.x|bool|incompatible|its effect on recovery is unknown
docker_kill_orphans|1.x|bool|incompatible|its effect on recovery is unknown
docker_mesos_image|1.x|string|incompatible|its effect on recovery is unknown
docker_registry|1.x|string|incompatible|its effect on recovery is unknown
docker_remove_delay|both|duration|restart|-
docker_sandbox_directory|0.21|string|restart|-
docker_socket|1.x|string|incompatible|its effect on recovery is unknown
docker_stop_timeout|both|duration|restart|-
docker_store_dir|1.x|string|incompatible|its effect on recovery is unknown
docker_volume_checkpoint_dir|1.x|string|incompatible|its effect on recovery is unknown
docker_volume_chown|1.x|bool|incompatible|its effect on recovery is unknown
domain|1.x|json|incompatible|compared by reconfiguration_policy=equal in 1.x
domain_socket_location|1.x|string|incompatible|its effect on recovery is unknown
effective_capabilities|1.x|json|incompatible|its effect on recovery is unknown
egress_flow_classifier_parent|1.x|string|incompatible|its effect on recovery is unknown
egress_rate_limit_per_container|both|bytes|restart|-
egress_unique_flow_per_container|1.x|bool|incompatible|its effect on recovery is unknown
enforce_container_disk_quota|1.x|bool|incompatible|its effect on recovery is unknown
enforce_container_ports|1.x|bool|incompatible|its effect on recovery is unknown
ephemeral_ports_per_container|both|integer|restart|-
eth0_name|both|string|restart|-
executor_environment_variables|1.x|json|incompatible|its effect on recovery is unknown
executor_registration_timeout|both|duration|restart|-
executor_reregistration_retry_interval|1.x|duration|incompatible|its effect on recovery is unknown
executor_reregistration_timeout|1.x|duration|incompatible|its effect on recovery is unknown
executor_shutdown_grace_period|both|duration|restart|-
external_log_file|1.x|string|incompatible|its effect on recovery is unknown
fetcher_cache_dir|1.x|string|incompatible|its effect on recovery is unknown
fetcher_cache_size|1.x|bytes|incompatible|its effect on recovery is unknown
fetcher_stall_timeout|1.x|duration|incompatible|its effect on recovery is unknown
firewall_rules|1.x|json|incompatible|its effect on recovery is unknown
frameworks_home|both|string|restart|-
gc_delay|both|duration|restart|-
gc_disk_headroom|1.x|number|incompatible|its effect on recovery is unknown
gc_non_executor_container_sandboxes|1.x|bool|incompatible|its effect on recovery is unknown
hadoop_home|both|string|restart|-
help|both|bool|never|makes the agent print and exit
hooks|1.x|string|incompatible|its effect on recovery is unknown
host_path_volume_force_creation|1.x|string|incompatible|its effect on recovery is unknown
hostname|both|string|incompatible|part of the agent's identity
hostname_lookup|1.x|bool|incompatible|its effect on recovery is unknown
http_authenticators|1.x|string|incompatible|its effect on recovery is unknown
http_command_executor|1.x|bool|incompatible|its effect on recovery is unknown
http_credentials|1.x|path|incompatible|its effect on recovery is unknown
http_executor_domain_sockets|1.x|string|incompatible|its effect on recovery is unknown
http_heartbeat_interval|1.x|duration|incompatible|its effect on recovery is unknown
image_gc_config|1.x|json|incompatible|its effect on recovery is unknown
image_providers|1.x|string|incompatible|its effect on recovery is unknown
image_provisioner_backend|1.x|string|incompatible|its effect on recovery is unknown
initialize_driver_logging|both|bool|restart|-
ip|both|string|rule|hostname is resolved from it while the flag hostname is unset
ip6|1.x|string|incompatible|its effect on recovery is unknown
ip6_discovery_command|1.x|string|incompatible|its effect on recovery is unknown
ip_discovery_command|1.x|string|incompatible|its effect on recovery is unknown
isolation|both|string|restart|new isolators see old containers without their state
jwt_secret_key|1.x|path|incompatible|its effect on recovery is unknown
launcher|1.x|string|incompatible|its effect on recovery is unknown
launcher_dir|both|string|rule|mesos-executor would have another real path
lo_name|both|string|restart|-
log_dir|both|string|restart|-
logbufsecs|both|integer|restart|-
logging_level|both|string|restart|-
master|both|string|restart|-
master_detector|1.x|string|incompatible|its effect on recovery is unknown
max_completed_executors_per_framework|1.x|integer|incompatible|its effect on recovery is unknown
memory_profiling|1.x|bool|restart|-
modules|both|json|restart|-
modules_dir|1.x|string|incompatible|its effect on recovery is unknown
network_cni_config_dir|1.x|string|incompatible|its effect on recovery is unknown
network_cni_metrics|1.x|bool|incompatible|its effect on recovery is unknown
network_cni_plugins_dir|1.x|string|incompatible|its effect on recovery is unknown
network_cni_root_dir_persist|1.x|bool|incompatible|its effect on recovery is unknown
network_enable_snmp_statistics|1.x|bool|incompatible|its effect on recovery is unknown
network_enable_socket_statistics|0.21|bool|restart|-
network_enable_socket_statistics_details|1.x|bool|incompatible|its effect on recovery is unknown
network_enable_socket_statistics_summary|1.x|bool|incompatible|its effect on recovery is unknown
nvidia_gpu_devices|1.x|string|incompatible|its effect on recovery is unknown
oversubscribed_resources_interval|1.x|duration|incompatible|its effect on recovery is unknown
perf_duration|both|duration|restart|-
perf_events|both|string|restart|-
perf_interval|both|duration|restart|-
port|both|port|incompatible|compared by reconfiguration_policy=equal in 1.x
qos_controller|1.x|string|incompatible|its effect on recovery is unknown
qos_correction_interval_min|1.x|duration|incompatible|its effect on recovery is unknown
quiet|both|bool|restart|-
reconfiguration_policy|1.x|string|restart|-
recover|both|string|rule|cleanup kills the running executors
recovery_timeout|both|duration|restart|-
registration_backoff_factor|both|duration|restart|-
resource_estimator|1.x|string|incompatible|its effect on recovery is unknown
resource_monitoring_interval|0.21|duration|restart|-
resource_provider_config_dir|1.x|string|incompatible|its effect on recovery is unknown
resources|both|parts|incompatible|part of the agent's identity
revocable_cpu_low_priority|1.x|bool|incompatible|its effect on recovery is unknown
runtime_dir|1.x|string|incompatible|its effect on recovery is unknown
sandbox_directory|1.x|string|incompatible|its effect on recovery is unknown
seccomp_config_dir|1.x|string|incompatible|its effect on recovery is unknown
seccomp_profile_name|1.x|string|incompatible|its effect on recovery is unknown
secret_resolver|1.x|string|incompatible|its effect on recovery is unknown
slave_subsystems|0.21|string|restart|-
strict|both|bool|restart|-
switch_user|both|bool|restart|-
systemd_enable_support|1.x|bool|restart|-
systemd_runtime_directory|1.x|string|restart|-
version|both|bool|never|makes the agent print and exit
volume_gid_range|1.x|string|incompatible|its effect on recovery is unknown
work_dir|both|string|incompatible|another work_dir is another agent, without its state
xfs_kill_containers|1.x|bool|restart|-
xfs_project_range|1.x|string|incompatible|its effect on recovery is unknown
zk_session_timeout|1.x|duration|incompatible|its effect on recovery is unknown
"""

# Files of the directory that the packages' init wrapper takes for itself: ?no-logger keeps the agent's output from
# logger(1).
WRAPPER_FLAGS = {"logger": Flag("logger", "both", "wrapper", "restart", "-")}

FLAGS = {line.split("|")[0]: Flag(*line.split("|")) for line in _TABLE.splitlines()}

# Their values are secret as a whole; passwords inside addresses are found by their form, in every flag.
SECRET_FLAGS = frozenset(
    ("credential", "http_credentials", "jwt_secret_key", "docker_config", "executor_environment_variables")
)
