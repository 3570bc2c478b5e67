# Installs the egovmon agent as a Windows service. Run in an elevated PowerShell, in the unpacked folder:
#   powershell -ExecutionPolicy Bypass -File install.ps1 -Collector https://HOST:19443 -Token TOKEN
# Without -Token the machine must have its identity already: the program is replaced and started again.
param(
    [string]$Collector,
    [string]$Token
)
$ErrorActionPreference = 'Stop'

$me = New-Object Security.Principal.WindowsPrincipal([Security.Principal.WindowsIdentity]::GetCurrent())
if (-not $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
    Write-Error 'Cần quyền quản trị: mở PowerShell bằng "Run as administrator". / An administrator is needed.'
}

$program = Join-Path $env:ProgramFiles 'egovmon\egovmon-agent.exe'
$data = Join-Path $env:ProgramData 'egovmon'
$source = Join-Path $PSScriptRoot 'egovmon-agent.exe'

# The program: a running service holds its file.
$service = Get-Service -Name 'egovmon-agent' -ErrorAction SilentlyContinue
if ($service -and $service.Status -ne 'Stopped') {
    Stop-Service -Name 'egovmon-agent'
}
New-Item -ItemType Directory -Force -Path (Split-Path $program) | Out-Null
Copy-Item -Force -Path $source -Destination $program
# Its helper for signing, which must stand beside it.
$token = Join-Path $PSScriptRoot 'egovmon-token.exe'
if (Test-Path $token) {
    Copy-Item -Force -Path $token -Destination (Split-Path $program)
}

# The data: the system, administrators and the service's account (LocalService), nobody else; keys lie there.
New-Item -ItemType Directory -Force -Path $data | Out-Null
& icacls.exe $data /inheritance:r /grant:r '*S-1-5-18:(OI)(CI)F' '*S-1-5-32-544:(OI)(CI)F' '*S-1-5-19:(OI)(CI)F' | Out-Null
if ($LASTEXITCODE -ne 0) {
    Write-Error "icacls $data : $LASTEXITCODE"
}

if ($Token) {
    if (-not $Collector) {
        Write-Error 'Thiếu -Collector https://HOST:19443 / -Collector is missing'
    }
    # By standard input, so that the token is on no command line.
    $Token | & $program enrol --collector $Collector --token - --data $data
    if ($LASTEXITCODE -ne 0) {
        exit $LASTEXITCODE
    }
}
& $program service install --data $data
if ($LASTEXITCODE -ne 0) {
    exit $LASTEXITCODE
}
& $program service status
