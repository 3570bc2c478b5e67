# The egovmon collector of one district, on the one machine that holds its state. README.md says what that machine needs.
#
#   nomad job run -var version=1.0.0 -var artifact_base=https://mirror.example.vn/egovmon/1.0.0 \
#     -var sha256=… -var node=may-chu-huyen -var names='["collector.example.vn"]' collector.nomad.hcl

variable "version" {
  type        = string
  description = "The release, for people."
}

variable "artifact_base" {
  type        = string
  description = "The folder of the office's own mirror that holds egovmon-collector."
}

variable "sha256" {
  type        = string
  description = "SHA-256 of egovmon-collector, from the release's SHA256SUMS."
}

variable "node" {
  type        = string
  description = "Name of the node that holds the state: evidence does not move by itself."
}

variable "names" {
  type        = list(string)
  description = "Host names and addresses by which agents reach the collector."
}

job "egovmon-collector" {
  type        = "service"
  namespace   = "default"
  datacenters = ["*"]
  priority    = 70

  meta {
    version = var.version
  }

  constraint {
    attribute = "${node.unique.name}"
    value     = var.node
  }

  # Two collectors on one state are impossible: the second waits for the first one's lock to go.
  update {
    max_parallel      = 1
    health_check      = "checks"
    min_healthy_time  = "15s"
    healthy_deadline  = "10m"
    progress_deadline = "20m"
    auto_revert       = false
  }

  group "collector" {
    count = 1

    network {
      port "agents" {
        static = 19443
      }
      port "board" {
        static = 19090
      }
    }

    disconnect {
      lost_after = "24h"
      replace    = false
      reconcile  = "keep_original"
    }

    restart {
      attempts = 10
      interval = "10m"
      delay    = "15s"
      mode     = "delay"
    }

    volume "state" {
      type      = "host"
      source    = "egovmon-collector"
      read_only = false
    }

    task "collector" {
      driver       = "exec"
      user         = "egovmon-collector"
      kill_timeout = "60s"

      # The board stays on loopback until it has TLS and users: people come through a tunnel.
      config {
        command = "local/egovmon-collector"
        args    = ["run", "--data", "/state", "--config", "local/collector.yaml", "--agents", "0.0.0.0:19443", "--listen", "127.0.0.1:19090"]
      }

      artifact {
        source      = "${var.artifact_base}/egovmon-collector"
        destination = "local/egovmon-collector"
        mode        = "file"
        options {
          checksum = "sha256:${var.sha256}"
        }
      }

      template {
        destination = "local/collector.yaml"
        data        = "names: ${jsonencode(var.names)}\n"
      }

      volume_mount {
        volume      = "state"
        destination = "/state"
      }

      service {
        provider = "nomad"
        name     = "egovmon-collector"
        port     = "agents"

        check {
          name     = "agents"
          type     = "tcp"
          interval = "30s"
          timeout  = "5s"
        }
      }

      resources {
        cpu    = 1000
        memory = 1024
      }

      logs {
        max_files     = 5
        max_file_size = 10
      }
    }
  }
}
