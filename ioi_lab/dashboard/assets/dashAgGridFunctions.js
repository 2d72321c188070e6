// Functions that the columns of tables name. They return text, which AG Grid shows as text.
var dagfuncs = (window.dashAgGridFunctions = window.dashAgGridFunctions || {});

dagfuncs.age = function (updated) {
    if (updated === null || updated === undefined) return "";
    const seconds = Math.max(0, Date.now() / 1000 - updated);
    for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60]]) {
        if (seconds >= length) return Math.round(seconds / length) + " " + unit;
    }
    return Math.round(seconds) + " s";
};

dagfuncs.interval = function (data) {
    const show = (value) => value.toPrecision(3).replace("-", "−");
    if (!data || data.value === null || data.value === undefined) return "";
    const known = data.low !== null && data.high !== null && data.low !== undefined && data.high !== undefined;
    return show(data.value) + (known ? " [" + show(data.low) + ", " + show(data.high) + "]" : "");
};

dagfuncs.when = function (data) {
    return data && data.updated ? new Date(1000 * data.updated).toLocaleString() : "";
};

dagfuncs.decimals = function (value, digits) {
    if (typeof value !== "number") return "";
    const options = {minimumFractionDigits: digits, maximumFractionDigits: digits};
    return value.toLocaleString("en", options).replace("-", "−");
};
