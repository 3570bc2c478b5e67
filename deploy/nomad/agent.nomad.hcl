# The egovmon agent on every enrolled machine of the node pool "agents". README.md says what a machine needs before.
#
#   nomad job run -var version=1.0.0 -var artifact_base=https://mirror.example.vn/egovmon/1.0.0 \
#     -var sha256_linux=… -var sha256_windows=… agent.nomad.hcl

variable "version" {
  type        = string
  description = "The release, for people."
}

variable "artifact_base" {
  type        = string
  description = "The folder of the office's own mirror that holds egovmon-agent and egovmon-agent.exe."
}

variable "sha256_linux" {
  type        = string
  description = "SHA-256 of egovmon-agent, from the release's SHA256SUMS."
}

variable "sha256_windows" {
  type        = string
  description = "SHA-256 of egovmon-agent.exe, from the release's SHA256SUMS."
}

variable "metrics_address" {
  type        = string
  default     = "127.0.0.1"
  description = "Where /metrics is answered. Results do not need it: agents push. For a scraped LAN: $${attr.unique.network.ip-address}."
}

job "egovmon-agent" {
  type        = "system"
  namespace   = "default"
  datacenters = ["*"]
  node_pool   = "agents"
  priority    = 60

  meta {
    version = var.version
  }

  constraint {
    attribute = "${meta.role}"
    value     = "agent"
  }

  # A value that is not set stays literally in tags, so such a node gets no agent.
  constraint {
    attribute = "${meta.unit_code}"
    operator  = "is_set"
  }

  # For a system job the canary is a percentage of the nodes, and a person promotes it. Nothing reverts by itself: after
  # one failed deployment Nomad 2.0 stops every later one after its first batch.
  update {
    max_parallel      = 20
    health_check      = "checks"
    min_healthy_time  = "10s"
    healthy_deadline  = "5m"
    progress_deadline = "15m"
    canary            = 10
    auto_promote      = false
    auto_revert       = false
  }

  group "linux" {
    constraint {
      attribute = "${attr.kernel.name}"
      value     = "linux"
    }

    network {
      port "metrics" {
        static = 19100
      }
    }

    # A cut line is no reason to stop measuring, nor to start twice.
    disconnect {
      lost_after = "4h"
      replace    = false
      reconcile  = "keep_original"
    }

    restart {
      attempts = 10
      interval = "10m"
      delay    = "15s"
      mode     = "delay"
    }

    task "agent" {
      driver         = "raw_exec"
      kill_timeout   = "20s"
      shutdown_delay = "2s"

      # Identity, journal and spool outlive every allocation.
      config {
        command = "local/egovmon-agent"
        args    = ["run", "--data", "/var/lib/egovmon", "--listen", "${var.metrics_address}:19100"]
      }

      artifact {
        source      = "${var.artifact_base}/egovmon-agent"
        destination = "local/egovmon-agent"
        mode        = "file"
        options {
          checksum = "sha256:${var.sha256_linux}"
        }
      }

      # In the task, not in the group: a group's service cannot be set up while the line is cut, and the allocation of a
      # machine that starts then would stay failed.
      service {
        provider = "nomad"
        name     = "egovmon-agent"
        port     = "metrics"
        address  = var.metrics_address
        tags     = ["prometheus", "unit=${meta.unit_code}", "level=${meta.unit_level}"]

        # It holds with TLS and passwords of agent.yaml's web_config, too.
        check {
          name     = "metrics"
          type     = "tcp"
          interval = "30s"
          timeout  = "5s"
        }
      }

      resources {
        cpu    = 100
        memory = 96
      }

      logs {
        max_files     = 3
        max_file_size = 5
      }
    }
  }

  group "windows" {
    constraint {
      attribute = "${attr.kernel.name}"
      value     = "windows"
    }

    network {
      port "metrics" {
        static = 19100
      }
    }

    disconnect {
      lost_after = "4h"
      replace    = false
      reconcile  = "keep_original"
    }

    restart {
      attempts = 10
      interval = "10m"
      delay    = "15s"
      mode     = "delay"
    }

    task "agent" {
      driver         = "raw_exec"
      user           = "NT AUTHORITY\\LocalService"
      kill_timeout   = "20s"
      shutdown_delay = "2s"

      config {
        command = "local/egovmon-agent.exe"
        args    = ["run", "--data", "C:\\ProgramData\\egovmon", "--listen", "${var.metrics_address}:19100"]
      }

      artifact {
        source      = "${var.artifact_base}/egovmon-agent.exe"
        destination = "local/egovmon-agent.exe"
        mode        = "file"
        options {
          checksum = "sha256:${var.sha256_windows}"
        }
      }

      service {
        provider = "nomad"
        name     = "egovmon-agent"
        port     = "metrics"
        address  = var.metrics_address
        tags     = ["prometheus", "unit=${meta.unit_code}", "level=${meta.unit_level}"]

        check {
          name     = "metrics"
          type     = "tcp"
          interval = "30s"
          timeout  = "5s"
        }
      }

      resources {
        cpu    = 100
        memory = 96
      }

      # The pipe of Nomad's log collector can break over many restarts of Windows, and would take the agent with it.
      logs {
        disabled = true
      }
    }
  }
}
