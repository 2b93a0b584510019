#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/host/exporter.t with the ASan/UBSan build
IHO_BUILD=build/san exec "$(dirname "$0")/../host/exporter.t"
