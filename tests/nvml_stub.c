/* The NVIDIA driver's management library (libnvidia-ml) of a machine with STUB_GPUS idle H100s; none of them is there. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { int number; } *Device;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory2;

enum { OK = 0, INVALID_ARGUMENT = 2, NOT_FOUND = 6, MOST = 16 };

static const unsigned long long TOTAL = 85520809984ULL, USED = 520809984ULL;
static struct { int number; } devices[MOST];

static unsigned count(void) {
    const char *told = getenv("STUB_GPUS");
    return told ? (unsigned)atoi(told) : 1;
}

int nvmlInit(void) { return OK; }
int nvmlInit_v2(void) { return OK; }
int nvmlInitWithFlags(unsigned flags) { return OK; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int error) { return error ? "an error of the stub" : "no error"; }

int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "580.159.04"); return OK; }
int nvmlSystemGetCudaDriverVersion(int *version) { *version = 13000; return OK; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 13000; return OK; }

int nvmlDeviceGetCount(unsigned *number) { *number = count(); return OK; }
int nvmlDeviceGetCount_v2(unsigned *number) { *number = count(); return OK; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *device) {
    if (index >= count() || index >= MOST) return INVALID_ARGUMENT;
    devices[index].number = (int)index;
    *device = (Device)&devices[index];
    return OK;
}
int nvmlDeviceGetHandleByIndex(unsigned index, Device *device) { return nvmlDeviceGetHandleByIndex_v2(index, device); }

int nvmlDeviceGetHandleByUUID(const char *uuid, Device *device) {
    const char *digits = strrchr(uuid, '-');
    return digits ? nvmlDeviceGetHandleByIndex_v2((unsigned)atoi(digits + 1), device) : NOT_FOUND;
}

int nvmlDeviceGetIndex(Device device, unsigned *index) { *index = (unsigned)device->number; return OK; }
int nvmlDeviceGetMinorNumber(Device device, unsigned *number) { *number = (unsigned)device->number; return OK; }
int nvmlDeviceGetName(Device device, char *text, unsigned size) { snprintf(text, size, "NVIDIA H100 80GB HBM3"); return OK; }
int nvmlDeviceGetUUID(Device device, char *text, unsigned size) {
    snprintf(text, size, "GPU-00000000-0000-0000-0000-%012d", device->number);
    return OK;
}
int nvmlDeviceGetCudaComputeCapability(Device device, int *major, int *minor) { *major = 9; *minor = 0; return OK; }
int nvmlDeviceGetMigMode(Device device, unsigned *current, unsigned *pending) { *current = *pending = 0; return OK; }
int nvmlDeviceGetP2PStatus(Device from, Device to, int kind, int *status) { *status = 0; return OK; }
int nvmlDeviceGetUtilizationRates(Device device, unsigned *rates) { rates[0] = rates[1] = 0; return OK; }

int nvmlDeviceGetMemoryInfo(Device device, Memory *memory) {
    memory->total = TOTAL; memory->used = USED; memory->free = TOTAL - USED;
    return OK;
}
int nvmlDeviceGetMemoryInfo_v2(Device device, Memory2 *memory) {
    memory->total = TOTAL; memory->used = USED; memory->reserved = 0; memory->free = TOTAL - USED;
    return OK;
}
