// Cells with links and badges. Values become text nodes of React, never HTML.
var dagcomponents = (window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {});

dagcomponents.PageLink = function (props) {
    if (!props.value) return null;
    const base = props.colDef.cellRendererParams.base;
    const href = base + (props.value === "." ? "" : props.value.split("/").map(encodeURIComponent).join("/"));
    const shorter = props.value.replace(/(\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)-\d{6}/, "$1"); // without microseconds
    const text = props.colDef.cellRendererParams.text || shorter;
    const go = (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
        event.preventDefault();
        history.pushState({}, "", href);
        window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
        window.scrollTo(0, 0);
    };
    return React.createElement("a", {href: href, onClick: go, title: props.value}, text);
};

dagcomponents.Badge = function (props) {
    const title = props.data ? props.data.error : "";
    return React.createElement("span", {className: "badge " + props.value, title: title}, String(props.value));
};
