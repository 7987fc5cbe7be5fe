# A web image by HashiCorp's own builder, with Goldsmith's provisioners. See README.md.

packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.8.0"
    }
    goldsmith = {
      source  = "github.com/goldsmith-ami/goldsmith"
      version = ">= 0.1.0"
    }
  }
}

variable "stack" {
  type        = string
  description = "The stack whose public subnet the image is baked in."
}

variable "region" {
  type        = string
  description = "The region of the stack."
}

variable "arch" {
  type        = string
  description = "The processor of the images: amd64 or arm64."
  default     = "amd64"
  validation {
    condition     = contains(["amd64", "arm64"], var.arch)
    error_message = "The architecture arch should be amd64 or arm64."
  }
}

variable "ami_name" {
  type        = string
  description = "The image's name; the default is another one for each build."
  default     = ""
}

locals {
  root = "${path.root}/../.."
  # What AWS has for each processor.
  machine = {
    amd64 = { architecture = "x86_64", instance_type = "t3.small" }
    arm64 = { architecture = "arm64", instance_type = "t4g.small" }
  }[var.arch]
}

data "goldsmith-network" "stack" {
  region = var.region
  stack  = var.stack
}

source "amazon-ebs" "web" {
  region                      = var.region
  ami_name                    = var.ami_name != "" ? var.ami_name : "${var.stack}-web-${formatdate("YYYYMMDD-hhmmss", timestamp())}"
  instance_type               = local.machine.instance_type
  ssh_username                = "admin"
  temporary_key_pair_type     = "ed25519"
  subnet_id                   = data.goldsmith-network.stack.public_subnet_id
  associate_public_ip_address = true
  imds_support                = "v2.0"

  # What goldsmith-ami does by itself.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  source_ami_filter {
    filters     = { name = "debian-13-${var.arch}-*", architecture = local.machine.architecture }
    owners      = ["136693071363"]
    most_recent = true
  }
}

build {
  sources = ["amazon-ebs.web"]

  provisioner "goldsmith-hardening" {
    sshd                 = "${local.root}/files/ssh/sshd.conf.tmpl"
    sysctl               = "${local.root}/files/linux/sysctl.conf.tmpl"
    allow_tcp_forwarding = true
  }

  provisioner "goldsmith-webapp" {
    binary = "${local.root}/.build/webapp-linux-${var.arch}"
    unit   = "${local.root}/files/systemd/goldsmith-webapp.service.tmpl"
  }

  provisioner "goldsmith-nginx" {
    site = "${local.root}/files/nginx/site.conf.tmpl"
  }

  # With a builder that does not seal, this is what stands between the build and an image that carries a key.
  provisioner "goldsmith-seal" {}
}
